"""What transformers saves loads here, what is saved here loads there, and both compute the same numbers."""

from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from transformers import AutoModelForCausalLM, LlamaConfig, MistralConfig, Qwen2Config, Qwen3Config

from cpt.model import hf
from cpt.model.decoder import Decoder

SHAPE: dict[str, Any] = {
    "vocab_size": 101,
    "hidden_size": 48,
    "intermediate_size": 80,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
    "attn_implementation": "eager",
}
LLAMA3 = {"rope_type": "llama3", "rope_theta": 5e5, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}
YARN = {"rope_type": "yarn", "rope_theta": 1e4, "factor": 4.0}
CONFIGS = {
    "llama": LlamaConfig(**SHAPE, rms_norm_eps=1e-5, tie_word_embeddings=True),
    "llama3_rope": LlamaConfig(**SHAPE, rope_parameters=LLAMA3 | {"original_max_position_embeddings": 32}),
    "llama_linear": LlamaConfig(**SHAPE, rope_parameters={"rope_type": "linear", "rope_theta": 1e4, "factor": 2.0}),
    "llama_yarn": LlamaConfig(**SHAPE, rope_parameters=YARN | {"original_max_position_embeddings": 64}),
    "llama_wide_heads": LlamaConfig(**SHAPE, head_dim=20),
    "qwen2": Qwen2Config(**SHAPE),
    "qwen2_window": Qwen2Config(**SHAPE, use_sliding_window=True, sliding_window=9, max_window_layers=0),
    "qwen3": Qwen3Config(**SHAPE, head_dim=16, tie_word_embeddings=True),
    "mistral_window": MistralConfig(**SHAPE, sliding_window=7),
    "mistral_window_unreached": MistralConfig(**SHAPE, sliding_window=64),
    "mistral": MistralConfig(**SHAPE, sliding_window=None),
}
TOKENS = 50


def random_model(config: Any) -> Any:
    """A transformers model all of whose parameters are random, biases and norms included."""
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.2)
    return model


def load(folder: Path) -> Decoder:
    decoder = Decoder(hf.read_architecture(folder))
    hf.load(folder, decoder)
    return decoder.eval()


def tokens() -> tuple[torch.Tensor, torch.Tensor]:
    return torch.randint(101, (2, TOKENS), generator=torch.Generator().manual_seed(1)), torch.arange(TOKENS).expand(2, TOKENS)


@pytest.mark.parametrize("name", CONFIGS)
def test_a_model_saved_by_transformers_gives_the_same_logits_here_and_back(name: str, tmp_path: Path) -> None:
    theirs = random_model(CONFIGS[name])
    theirs.save_pretrained(tmp_path / "theirs")
    ours = load(tmp_path / "theirs")
    tokens_BT, positions_BT = tokens()
    with torch.no_grad():
        expected = theirs(tokens_BT).logits
        assert expected.std() > 0.5, "the logits must be able to differ"
        torch.testing.assert_close(ours(tokens_BT, positions_BT), expected, atol=1e-4, rtol=0)

        hf.write(tmp_path / "ours", ours.state_dict(), ours.architecture)
        again, info = AutoModelForCausalLM.from_pretrained(tmp_path / "ours", attn_implementation="eager", output_loading_info=True)
        assert not any(info.values())
        torch.testing.assert_close(again(tokens_BT).logits, expected, atol=1e-4, rtol=0)
    assert hf.read_architecture(tmp_path / "ours") == ours.architecture


@pytest.mark.parametrize("name", ["llama", "qwen2", "mistral_window"])
def test_loss_and_gradients_equal_those_of_transformers(name: str, tmp_path: Path) -> None:
    theirs = random_model(CONFIGS[name])
    theirs.save_pretrained(tmp_path)
    ours = load(tmp_path)
    tokens_BT, positions_BT = tokens()
    labels_BT = torch.nn.functional.pad(tokens_BT[:, 1:], (0, 1), value=-100)

    theirs(tokens_BT, labels=tokens_BT).loss.backward()
    losses_BT = ours(tokens_BT, positions_BT, torch.zeros_like(tokens_BT), labels_BT)
    (losses_BT.sum() / (labels_BT != -100).sum()).backward()

    gradients = dict(theirs.named_parameters())
    for parameter_name, parameter in ours.named_parameters():
        expected = gradients[parameter_name].grad
        torch.testing.assert_close(parameter.grad, expected, atol=1e-5 * float(expected.abs().max()), rtol=1e-3, msg=parameter_name)


def test_weights_are_cut_into_files_that_transformers_reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hf, "SHARD_BYTES", 10_000)
    theirs = random_model(CONFIGS["llama3_rope"])
    theirs.save_pretrained(tmp_path / "theirs")
    ours = load(tmp_path / "theirs")
    hf.write(tmp_path / "ours", ours.state_dict(), ours.architecture, torch.bfloat16, eos_id=7)
    assert len(hf.weight_files(tmp_path / "ours")) > 3
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "ours")
    assert model.dtype == torch.bfloat16
    assert (model.generation_config.eos_token_id, model.config.eos_token_id, model.config.bos_token_id) == (7, 7, None)
    for name, parameter in load(tmp_path / "ours").named_parameters():
        assert torch.equal(parameter, ours.state_dict()[name].bfloat16().float())


def test_rotary_keys_read_the_same_from_both_versions_of_transformers() -> None:
    new = CONFIGS["llama3_rope"].to_dict()
    old = {key: value for key, value in new.items() if key != "rope_parameters"}
    scaling = dict(new["rope_parameters"])
    old |= {"rope_theta": scaling.pop("rope_theta"), "rope_scaling": scaling}
    from_hf_config = hf.Architecture.from_hf_config
    assert from_hf_config(new, "new") == from_hf_config(old, "old")
    assert from_hf_config(new, "new").rope_scaling is not None
    assert int(transformers.__version__.split(".")[0]) == 5, "`new` must be what transformers 5 writes"
