"""The shape of a decoder: read from and written to a Hugging Face config.json, without torch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal, get_args

from pydantic import Field, ValidationError

from cpt.errors import CheckpointError, Fault
from cpt.recipe.frozen import Frozen

Family = Literal["llama", "mistral", "qwen2", "qwen3"]


class RopeScaling(Frozen):
    """How rotary positions are stretched beyond the length of pre-training."""

    type: Literal["linear", "llama3", "yarn"]
    """`linear`: positions divided by `factor`. `llama3`: Llama 3.1's per-frequency rule. `yarn`: arXiv 2309.00071."""
    factor: float = Field(ge=1)
    low_freq_factor: float | None = None
    high_freq_factor: float | None = None
    original_positions: int | None = None
    """Positions of pre-training that the scaling starts from."""
    attention_factor: float | None = None
    beta_fast: float | None = None
    beta_slow: float | None = None


class Architecture(Frozen):
    """A pre-norm decoder with RMSNorm, rotary positions, grouped-query attention and SwiGLU."""

    family: Family
    layers: int = Field(ge=1)
    width: int = Field(ge=1)
    """Model width D."""
    heads: int = Field(ge=1)
    """Query heads H."""
    kv_heads: int = Field(ge=1)
    """Key and value heads; divides `heads`."""
    head_width: int = Field(ge=2)
    """Width K of one head; even, for rotary positions."""
    ffn_width: int = Field(ge=1)
    vocabulary: int = Field(ge=1)
    """Rows V of the embedding."""
    positions: int = Field(ge=1)
    """Longest sequence in tokens."""
    rope_theta: float = Field(gt=0)
    rope_scaling: RopeScaling | None = None
    norm_eps: float = Field(gt=0)
    tied_embeddings: bool
    """The output projection is the embedding."""
    attention_bias: bool = False
    """Biases on the query, key and value projections (Qwen2)."""
    qk_norm: bool = False
    """RMSNorm on every query and key head (Qwen3)."""
    sliding_window: int | None = None
    """Tokens that attention looks back; null is all."""

    @property
    def parameters(self) -> int:
        """Trainable parameters, a tied embedding counted once."""
        embedding = self.vocabulary * self.width * (1 if self.tied_embeddings else 2)
        return embedding + self.layers * self._layer_parameters() + self.width

    @property
    def matrix_parameters(self) -> int:
        """Parameters that every token is multiplied by: all but the embedding look-up."""
        return self.layers * self._layer_parameters() + self.vocabulary * self.width

    def flops_per_token(self, context: int) -> float:
        """FLOPs of one trained token, forward and backward, in causal sequences of `context` tokens.

        Source: 6 N for the matrices and 6 L D s for causal attention, as Megatron-LM counts (arXiv 2104.04473, section 5.1,
        halved for the causal mask); the embedding look-up is free.
        """
        return 6 * self.matrix_parameters + 6 * self.layers * self.heads * self.head_width * context

    @classmethod
    def from_hf_config(cls, config: dict[str, Any], where: str) -> Architecture:
        """The shape that a Hugging Face config.json describes, as transformers 4 or 5 writes it.

        Code that a checkpoint brings along (`auto_map`) is never run: `model_type` alone decides.

        Args:
            config: The parsed file.
            where: Its location, for the faults.

        Raises:
            CheckpointError: Keys are missing, or it describes something else than this decoder; every fault found.
        """
        if config.get("model_type") not in FAMILIES:
            rule = f"model_type must be one of {', '.join(FAMILIES)}"
            raise CheckpointError(where, str(config.get("model_type")), rule, "Start from a model of one of these families")
        for faults in (_malformed, _unsupported):  # the second relies on what the first has checked
            if found := [Fault(where, value, rule, cure) for value, rule, cure in faults(config)]:
                raise CheckpointError.of(found)
        try:
            return cls.model_validate(_fields(config))
        except ValidationError as error:
            raise CheckpointError.of(
                Fault(where, f"{'.'.join(map(str, fault['loc']))} {fault['input']}", fault["msg"]) for fault in error.errors()
            ) from None

    def to_hf_config(self) -> dict[str, Any]:
        """The config.json of this shape, with the rotary keys in the form that transformers 4 and 5 both read."""
        config = {theirs: getattr(self, ours) for ours, theirs in HF_KEYS.items()}
        config |= {"model_type": self.family, "architectures": [HF_CLASSES[self.family]], "hidden_act": "silu"}
        config["rope_scaling"] = _to_hf_rope(self.rope_scaling, self.positions)
        if self.family == "llama":
            config["mlp_bias"] = False
        if self.family in ("llama", "qwen3"):
            config["attention_bias"] = False
        if self.family == "mistral":
            config["sliding_window"] = self.sliding_window
        if self.family in ("qwen2", "qwen3"):
            config |= {"use_sliding_window": self.sliding_window is not None, "sliding_window": self.sliding_window}
            config["max_window_layers"] = 0 if self.sliding_window else self.layers
        return config

    def _layer_parameters(self) -> int:
        q_width, kv_width = self.heads * self.head_width, self.kv_heads * self.head_width
        attention = 2 * self.width * q_width + 2 * self.width * kv_width
        biases = q_width + 2 * kv_width if self.attention_bias else 0
        qk_norms = 2 * self.head_width if self.qk_norm else 0
        return attention + biases + qk_norms + 3 * self.width * self.ffn_width + 2 * self.width


FAMILIES: tuple[str, ...] = get_args(Family)
HF_CLASSES = {"llama": "LlamaForCausalLM", "mistral": "MistralForCausalLM", "qwen2": "Qwen2ForCausalLM", "qwen3": "Qwen3ForCausalLM"}
HF_KEYS = {
    "layers": "num_hidden_layers",
    "width": "hidden_size",
    "heads": "num_attention_heads",
    "kv_heads": "num_key_value_heads",
    "head_width": "head_dim",
    "ffn_width": "intermediate_size",
    "vocabulary": "vocab_size",
    "positions": "max_position_embeddings",
    "rope_theta": "rope_theta",
    "norm_eps": "rms_norm_eps",
    "tied_embeddings": "tie_word_embeddings",
}
HF_ROPE_KEYS = {
    "type": "rope_type",
    "factor": "factor",
    "low_freq_factor": "low_freq_factor",
    "high_freq_factor": "high_freq_factor",
    "original_positions": "original_max_position_embeddings",
    "attention_factor": "attention_factor",
    "beta_fast": "beta_fast",
    "beta_slow": "beta_slow",
}
HF_REQUIRED = ("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "vocab_size", "max_position_embeddings")
WINDOW = 4096
"""Transformers' default where a config with a sliding window does not say how long it is."""


def _fields(config: dict[str, Any]) -> dict[str, Any]:
    """Our fields, unchecked, with transformers' defaults where a key is absent."""
    fields = {ours: config[theirs] for ours, theirs in HF_KEYS.items() if config.get(theirs) is not None}
    rope = _rope(config)
    family, heads = config["model_type"], config["num_attention_heads"]
    head_width = 128 if family == "qwen3" else config["hidden_size"] // heads
    defaults = {"kv_heads": heads, "head_width": head_width, "norm_eps": 1e-6, "tied_embeddings": False}
    return {
        **defaults,
        **fields,
        "family": family,
        "rope_theta": rope.get("rope_theta") or config.get("rope_theta") or 10_000.0,
        "rope_scaling": _from_hf_rope(rope, config["max_position_embeddings"]),
        "attention_bias": family == "qwen2",
        "qk_norm": family == "qwen3",
        "sliding_window": _sliding_window(config),
    }


def _rope(config: dict[str, Any]) -> dict[str, Any]:
    """The rotary keys: `rope_parameters` (transformers 5), or `rope_scaling` beside `rope_theta` (4)."""
    return config.get("rope_scaling") or config.get("rope_parameters") or {}


def _rope_type(rope: dict[str, Any]) -> str:
    return str(rope.get("rope_type") or rope.get("type") or "default")


def _from_hf_rope(rope: dict[str, Any], positions: int) -> dict[str, Any] | None:
    kind = _rope_type(rope)
    if kind == "default":
        return None
    scaling = {ours: rope[theirs] for ours, theirs in HF_ROPE_KEYS.items() if rope.get(theirs) is not None} | {"type": kind}
    return scaling if kind == "linear" else {"original_positions": positions, **scaling}


def _to_hf_rope(scaling: RopeScaling | None, positions: int) -> dict[str, Any] | None:
    if scaling is None:
        return None
    rope = {HF_ROPE_KEYS[ours]: value for ours, value in scaling.model_dump(exclude_none=True).items()}
    return rope if scaling.type == "linear" else {"original_max_position_embeddings": positions, **rope}


def _sliding_window(config: dict[str, Any]) -> Any:
    """The window of all layers, unchecked; a window in some layers only was refused before (`_unsupported`)."""
    windowed = config["model_type"] == "mistral" or "sliding_attention" in _layer_types(config)
    return config.get("sliding_window", WINDOW) if windowed else None


def _layer_types(config: dict[str, Any]) -> set[str]:
    """`full_attention`, `sliding_attention` or both, as Qwen's configs mean it."""
    if config["model_type"] not in ("qwen2", "qwen3"):
        return set()
    if config.get("layer_types"):
        return set(config["layer_types"])
    if not config.get("use_sliding_window") or config.get("sliding_window", WINDOW) is None:
        return {"full_attention"}
    layers, full = config.get("num_hidden_layers") or 0, config.get("max_window_layers", 28)
    return ({"full_attention"} if full > 0 else set()) | ({"sliding_attention"} if full < layers else set())


def _malformed(config: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Keys that are missing or of another type than the shape needs: (value, rule, cure)."""
    cure = "Take the config.json that came with the weights"
    for key in HF_REQUIRED:
        if config.get(key) is None:
            yield key, "the key is missing", cure
    for key in (*HF_REQUIRED, "num_key_value_heads", "max_window_layers"):
        value = config.get(key, 1)
        if value is not None and (type(value) is not int or value < 0):
            yield f"{key} {value!r}", "must be a whole number", cure
    for key, kind in (("rope_scaling", dict), ("rope_parameters", dict), ("layer_types", list)):
        if not isinstance(config.get(key) or kind(), kind):
            yield f"{key} {config[key]!r}", f"must be a {kind.__name__} or null", cure


def _unsupported(config: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    """What this decoder would compute otherwise than the config says: (value, rule, cure)."""
    rope = _rope(config)
    if config.get("quantization_config"):
        yield "quantization_config", "quantised weights cannot be trained", "Start from the unquantised weights (bf16, fp16 or fp32)"
    if config.get("hidden_act", "silu") != "silu":
        yield f"hidden_act {config['hidden_act']}", "only silu is supported", ""
    if config.get("mlp_bias"):
        yield "mlp_bias true", "biases in the feed-forward block are not supported", ""
    if config.get("attention_bias") and config["model_type"] != "qwen2":
        yield "attention_bias true", "biases in attention are supported for qwen2 only", ""
    if _rope_type(rope) not in ("default", "linear", "llama3", "yarn"):
        yield f"rope_type {_rope_type(rope)}", "must be default, linear, llama3 or yarn", ""
    unknown = [key for key in rope if key not in {*HF_ROPE_KEYS.values(), "type", "rope_theta", "partial_rotary_factor", "truncate"}]
    if unknown:
        yield ", ".join(map(str, unknown)), "rotary keys that are not supported", ""
    if rope.get("truncate", True) is not True:
        yield "truncate false", "yarn is supported with its ramp rounded outwards only", ""
    if (rope.get("partial_rotary_factor") or config.get("partial_rotary_factor") or 1.0) != 1.0:
        yield "partial_rotary_factor", "rotation of a part of each head is not supported", ""
    if len(_layer_types(config)) > 1:
        yield "sliding_window", "a window in some layers only is not supported", ""
    if (config.get("num_attention_heads") or 1) % (config.get("num_key_value_heads") or 1):
        yield f"num_key_value_heads {config['num_key_value_heads']}", f"must divide num_attention_heads {config['num_attention_heads']}", ""
