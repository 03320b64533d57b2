"""The shape of a decoder: read from and written to a Hugging Face config.json, without torch."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

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

    def _layer_parameters(self) -> int:
        q_width, kv_width = self.heads * self.head_width, self.kv_heads * self.head_width
        attention = 2 * self.width * q_width + 2 * self.width * kv_width
        biases = q_width + 2 * kv_width if self.attention_bias else 0
        qk_norms = 2 * self.head_width if self.qk_norm else 0
        return attention + biases + qk_norms + 3 * self.width * self.ffn_width + 2 * self.width


