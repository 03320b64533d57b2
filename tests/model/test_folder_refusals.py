"""What cannot be read faithfully is refused, by name and all at once."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from cpt.errors import CheckpointError
from cpt.model import hf
from cpt.model.decoder import Decoder
from cpt.recipe.architecture import Architecture


@pytest.fixture
def folder(make_decoder: Any, tmp_path: Path) -> Path:
    decoder = make_decoder()
    hf.write(tmp_path, decoder.state_dict(), decoder.architecture)
    return tmp_path


def faults_of_loading(folder: Path) -> list[str]:
    with pytest.raises(CheckpointError) as caught:
        hf.load(folder, Decoder(hf.read_architecture(folder)))
    return [str(fault) for fault in caught.value.faults]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"model_type": "gemma2"}, "gemma2: model_type must be one of llama, mistral, qwen2, qwen3"),
        ({"model_type": None, "auto_map": {"AutoModelForCausalLM": "modeling_evil.Model"}}, "model_type must be one of"),
        ({"quantization_config": {"quant_method": "gptq"}}, "quantised weights"),
        ({"rope_scaling": {"rope_type": "longrope", "factor": 2.0}}, "rope_type longrope: must be default, linear, llama3 or yarn"),
        ({"rope_scaling": {"rope_type": "yarn", "factor": 2.0, "mscale": 0.7}}, "mscale: rotary keys that are not supported"),
        ({"rope_scaling": {"rope_type": "yarn"}}, "factor"),
        ({"partial_rotary_factor": 0.5}, "partial_rotary_factor"),
        ({"hidden_act": "gelu"}, "hidden_act gelu: only silu"),
        ({"mlp_bias": True}, "mlp_bias"),
        ({"attention_bias": True}, "attention_bias"),
        ({"num_key_value_heads": 3}, "num_key_value_heads 3: must divide num_attention_heads 4"),
        ({"hidden_size": None}, "hidden_size: the key is missing"),
        ({"vocab_size": "32000"}, "vocab_size '32000': must be a whole number"),
        ({"rope_scaling": "linear"}, "must be a dict or null"),
        ({"rms_norm_eps": "small"}, "norm_eps small"),
        ({"model_type": "qwen2", "use_sliding_window": True, "sliding_window": 8, "max_window_layers": 1}, "in some layers only"),
    ],
)
def test_a_config_of_another_decoder_is_refused_by_name(small: Architecture, change: dict[str, Any], told: str) -> None:
    with pytest.raises(CheckpointError, match=r"somewhere/config\.json") as caught:
        Architecture.from_hf_config(small.to_hf_config() | change, "somewhere/config.json")
    assert told in str(caught.value)


def test_all_faults_of_a_config_are_told_at_once(small: Architecture) -> None:
    config = small.to_hf_config() | {"mlp_bias": True, "hidden_act": "gelu", "quantization_config": {"bits": 4}}
    with pytest.raises(CheckpointError) as caught:
        Architecture.from_hf_config(config, "config.json")
    assert len(caught.value.faults) == 3


def test_code_that_a_checkpoint_brings_along_is_ignored(small: Architecture) -> None:
    config = small.to_hf_config() | {"auto_map": {"AutoConfig": "configuration_evil.Config"}}
    assert Architecture.from_hf_config(config, "config.json") == small


def test_missing_unexpected_misshapen_and_quantised_tensors_are_told_together(folder: Path) -> None:
    tensors = load_file(folder / hf.WEIGHTS)
    del tensors["model.norm.weight"]
    tensors["model.layers.0.mlp.up_proj.bias"] = torch.zeros(80)
    tensors["model.layers.0.self_attn.rotary_emb.inv_freq"] = torch.zeros(6)
    tensors["model.layers.1.mlp.up_proj.weight"] = torch.zeros(48, 80)
    tensors["model.layers.1.mlp.down_proj.weight"] = torch.zeros(48, 80, dtype=torch.int8)
    save_file(tensors, folder / hf.WEIGHTS)
    told = faults_of_loading(folder)
    assert len(told) == 4
    for part in ("model.norm.weight: is missing", "up_proj.bias: is not a tensor", "[48, 80], config.json says [80, 48]", "stored as I8"):
        assert any(part in fault for fault in told), part


def test_many_faults_of_one_kind_are_counted(make_decoder: Any, folder: Path) -> None:
    save_file({"model.norm.weight": torch.ones(48)}, folder / hf.WEIGHTS)
    config = json.loads((folder / hf.CONFIG).read_text())
    (folder / hf.CONFIG).write_text(json.dumps(config | {"num_hidden_layers": 40}))
    told = faults_of_loading(folder)
    assert len(told) == hf.SHOWN + 1
    assert f"and {40 * 9 + 1 - hf.SHOWN} more" in told[-1]


def test_an_output_projection_beside_tied_embeddings_is_no_fault(folder: Path) -> None:
    tensors = load_file(folder / hf.WEIGHTS)
    save_file(tensors | {"lm_head.weight": tensors["model.embed_tokens.weight"].clone()}, folder / hf.WEIGHTS)
    hf.load(folder, Decoder(hf.read_architecture(folder)))


def test_broken_safetensors_are_named(folder: Path) -> None:
    weights = folder / hf.WEIGHTS
    weights.write_bytes(weights.read_bytes()[:-1000])
    assert "model.safetensors" in faults_of_loading(folder)[0]
    weights.write_bytes(b"not safetensors at all")
    assert "cannot be read as safetensors" in faults_of_loading(folder)[0]


def test_pickled_weights_are_refused_with_the_cure(folder: Path) -> None:
    (folder / hf.WEIGHTS).rename(folder / "pytorch_model.bin")
    assert "save_pretrained" in faults_of_loading(folder)[0]


def test_an_empty_folder_and_a_broken_config_are_told(folder: Path, tmp_path: Path) -> None:
    (folder / hf.WEIGHTS).unlink()
    assert "holds no safetensors weights" in faults_of_loading(folder)[0]
    (folder / hf.CONFIG).write_text("{")
    assert "must be readable JSON" in faults_of_loading(folder)[0]
    (folder / hf.CONFIG).unlink()
    assert "does not exist" in faults_of_loading(folder)[0]


@pytest.mark.parametrize(
    ("index", "told"),
    [
        ("{", "must be JSON with a weight_map"),
        ('{"weight_map": {"a": "model-00001-of-00001.safetensors"}}', "is named by the index and missing"),
        ('{"weight_map": {"a": "../model.safetensors"}}', "must name files of its own folder"),
    ],
)
def test_a_bad_index_is_told(folder: Path, index: str, told: str) -> None:
    (folder / hf.INDEX).write_text(index)
    assert told in faults_of_loading(folder)[0]
