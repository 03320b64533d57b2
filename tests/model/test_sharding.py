"""A decoder sharded over two processes is the decoder in one."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from cpt.model import hf
from cpt.model.decoder import Decoder
from cpt.model.generate import generate
from cpt.model.init import init_weights

PROCESS = Path(__file__).with_name("sharded_process.py")


@pytest.fixture
def results(make_decoder: Any, tmp_path: Path) -> tuple[Decoder, list[dict[str, torch.Tensor]]]:
    """The whole decoder, and what each of two processes that share it found."""
    decoder = make_decoder(attention_bias=True, family="qwen2", layers=1)
    hf.write(tmp_path, decoder.state_dict(), decoder.architecture)
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    processes = [subprocess.Popen([sys.executable, PROCESS, str(rank), "2", tmp_path], env=environment) for rank in range(2)]
    assert [process.wait(timeout=120) for process in processes] == [0, 0]
    return decoder, [load_file(tmp_path / f"results-{rank}.safetensors") for rank in range(2)]


def test_two_processes_start_load_and_learn_as_one(results: tuple[Decoder, list[dict[str, torch.Tensor]]]) -> None:
    decoder, ranks = results
    fresh = Decoder(decoder.architecture)
    init_weights(fresh, seed=1)
    tokens_BT, positions_BT = torch.arange(40).view(2, 20), torch.arange(20).expand(2, 20)
    losses_BT = decoder(tokens_BT, positions_BT, torch.zeros_like(tokens_BT), tokens_BT)
    losses_BT.sum().backward()
    for rank in ranks:
        for name, parameter in decoder.named_parameters():
            assert torch.equal(rank[f"init.{name}"], fresh.get_parameter(name)), name
            assert torch.equal(rank[f"loaded.{name}"], parameter), name
            torch.testing.assert_close(rank[f"grad.{name}"], parameter.grad, atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(rank["losses"], losses_BT.detach())
        assert rank["ids"].tolist() == generate(decoder, [1, 2, 3], 6)


def test_random_weights_depend_on_seed_and_name_and_have_the_promised_spread(make_decoder: Any) -> None:
    decoder: Decoder = make_decoder(layers=3, width=96, attention_bias=True)
    init_weights(decoder, seed=3)
    weights = {name: tensor.clone() for name, tensor in decoder.state_dict().items()}
    init_weights(decoder, seed=3)
    assert all(torch.equal(weights[name], tensor) for name, tensor in decoder.state_dict().items())
    init_weights(decoder, seed=4)
    assert not torch.equal(weights["model.embed_tokens.weight"], decoder.model.embed_tokens.weight)
    blocks = [weights[f"model.layers.{layer}.mlp.up_proj.weight"] for layer in range(2)]
    assert not torch.equal(*blocks)
    assert float(blocks[0].std()) == pytest.approx(0.02, rel=0.05)
    assert float(weights["model.layers.0.mlp.down_proj.weight"].std()) == pytest.approx(0.02 / 6**0.5, rel=0.05)
    assert (weights["model.norm.weight"] == 1).all()
    assert not weights["model.layers.0.self_attn.q_proj.bias"].any()
