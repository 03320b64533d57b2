"""One decoder for Llama, Mistral, Qwen2 and Qwen3: pre-norm blocks of grouped-query attention and SwiGLU.

Modules are named as in Hugging Face's checkpoints, so that names of parameters need no translation.
Shapes: B batch, T tokens, D width, H query heads, J key heads, K head width, S keys, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812
from torch.utils.checkpoint import checkpoint

from cpt.model.attention import AttentionMask, KeyValueCache, attend
from cpt.model.loss import token_losses
from cpt.model.rope import Rope, rotate
from cpt.recipe.architecture import Architecture


@dataclass(frozen=True)
class Dropouts:
    """Probabilities from 0 to 1, where 1 gives zeros; active in training mode only.

    Args:
        hidden: On the embedding's output and on each attention block's output, before the residual sum.
        attention: On the attention weights.
        ffn: On each feed-forward block's output, before the residual sum.
    """

    hidden: float = 0.0
    attention: float = 0.0
    ffn: float = 0.0


@dataclass(frozen=True)
class Context:
    """What all blocks of one forward pass share."""

    cosine_B1TK: Tensor
    sine_B1TK: Tensor
    mask: AttentionMask
    cache: KeyValueCache | None


class Attention(nn.Module):
    """Grouped-query attention with rotary positions, and with biases (Qwen2) or RMSNorm on each head (Qwen3) where the family has them."""

    def __init__(self, architecture: Architecture, layer: int, dropout: float) -> None:
        super().__init__()
        width, q_width = architecture.width, architecture.heads * architecture.head_width
        kv_width, bias = architecture.kv_heads * architecture.head_width, architecture.attention_bias
        self.q_proj = nn.Linear(width, q_width, bias=bias)
        self.k_proj = nn.Linear(width, kv_width, bias=bias)
        self.v_proj = nn.Linear(width, kv_width, bias=bias)
        self.o_proj = nn.Linear(q_width, width, bias=False)
        if architecture.qk_norm:
            self.q_norm = nn.RMSNorm(architecture.head_width, architecture.norm_eps)
            self.k_norm = nn.RMSNorm(architecture.head_width, architecture.norm_eps)
        self.qk_norm, self.head_width = architecture.qk_norm, architecture.head_width
        self.layer, self.dropout = layer, dropout

    def forward(self, x_BTD: Tensor, context: Context) -> Tensor:
        q_BTHK, k_BTJK, v_BTJK = (
            projection(x_BTD).unflatten(-1, (-1, self.head_width)) for projection in (self.q_proj, self.k_proj, self.v_proj)
        )
        if self.qk_norm:
            q_BTHK, k_BTJK = self.q_norm(q_BTHK), self.k_norm(k_BTJK)
        q = rotate(q_BTHK.transpose(1, 2), context.cosine_B1TK, context.sine_B1TK)
        k = rotate(k_BTJK.transpose(1, 2), context.cosine_B1TK, context.sine_B1TK)
        v = v_BTJK.transpose(1, 2)
        if context.cache is not None:
            k, v = context.cache.extend(self.layer, k, v)
        mixed_BHTK = attend(q, k, v, context.mask, self.dropout if self.training else 0.0)
        return self.o_proj(mixed_BHTK.transpose(1, 2).flatten(2))  # type: ignore[no-any-return]


class FeedForward(nn.Module):
    """SwiGLU (arXiv 2002.05202, equation 6)."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(architecture.width, architecture.ffn_width, bias=False)
        self.up_proj = nn.Linear(architecture.width, architecture.ffn_width, bias=False)
        self.down_proj = nn.Linear(architecture.ffn_width, architecture.width, bias=False)

    def forward(self, x_BTD: Tensor) -> Tensor:
        return self.down_proj(F.silu(self.gate_proj(x_BTD)) * self.up_proj(x_BTD))  # type: ignore[no-any-return]


class Block(nn.Module):
    """Attention and feed-forward, each normed before, dropped out and added to the residual."""

    def __init__(self, architecture: Architecture, layer: int, dropouts: Dropouts) -> None:
        super().__init__()
        self.self_attn = Attention(architecture, layer, dropouts.attention)
        self.mlp = FeedForward(architecture)
        self.input_layernorm = nn.RMSNorm(architecture.width, architecture.norm_eps)
        self.post_attention_layernorm = nn.RMSNorm(architecture.width, architecture.norm_eps)
        self.dropouts, self.recompute = dropouts, False

    def forward(self, x_BTD: Tensor, context: Context) -> Tensor:
        if self.recompute and torch.is_grad_enabled():  # inside the block: FSDP gathers its parameters around the whole of it
            return checkpoint(self._run, x_BTD, context, use_reentrant=False)  # type: ignore[no-any-return]
        return self._run(x_BTD, context)

    def _run(self, x_BTD: Tensor, context: Context) -> Tensor:
        attended_BTD = self.self_attn(self.input_layernorm(x_BTD), context)
        x_BTD = x_BTD + F.dropout(attended_BTD, self.dropouts.hidden, self.training)
        return x_BTD + F.dropout(self.mlp(self.post_attention_layernorm(x_BTD)), self.dropouts.ffn, self.training)


class Trunk(nn.Module):
    """Embedding, blocks and last norm: what Hugging Face's names call `model`."""

    def __init__(self, architecture: Architecture, dropouts: Dropouts) -> None:
        super().__init__()
        self.embed_tokens = nn.Embedding(architecture.vocabulary, architecture.width)
        self.layers = nn.ModuleList(Block(architecture, layer, dropouts) for layer in range(architecture.layers))
        self.norm = nn.RMSNorm(architecture.width, architecture.norm_eps)
        self.hidden_dropout = dropouts.hidden


class Decoder(nn.Module):
    """A causal language model.

    It may be built on the meta device, sharded by `fully_shard` (each of `blocks`, then itself) and given memory by `to_empty`; there are
    no buffers. Its weights are undefined until `cpt.model.init` or `cpt.model.hf` has set them.

    Args:
        architecture: The shape.
        hidden_dropout: See `Dropouts`.
        attention_dropout: See `Dropouts`.
        ffn_dropout: See `Dropouts`.
    """

    def __init__(
        self, architecture: Architecture, hidden_dropout: float = 0.0, attention_dropout: float = 0.0, ffn_dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.architecture = architecture
        self.model = Trunk(architecture, Dropouts(hidden_dropout, attention_dropout, ffn_dropout))
        if not architecture.tied_embeddings:
            self.lm_head = nn.Linear(architecture.width, architecture.vocabulary, bias=False)
        self._rope = Rope(architecture)

    @property
    def blocks(self) -> Sequence[Block]:
        """The blocks, first to last: the units of sharding."""
        return [block for block in self.model.layers if isinstance(block, Block)]

    @property
    def checkpoint_blocks(self) -> bool:
        """Whether each block's activations are recomputed in the backward pass instead of kept."""
        return all(block.recompute for block in self.blocks)

    @checkpoint_blocks.setter
    def checkpoint_blocks(self, recompute: bool) -> None:
        for block in self.blocks:
            block.recompute = recompute

    def forward(
        self,
        tokens_BT: Tensor,
        positions_BT: Tensor,
        documents_BT: Tensor | None = None,
        labels_BT: Tensor | None = None,
        cache: KeyValueCache | None = None,
    ) -> Tensor:
        """Losses of `labels_BT`, or logits.

        The losses are computed in here because only here does FSDP hold the embedding and the output projection whole.

        Args:
            tokens_BT: Token ids.
            positions_BT: Position of each token in its document, from 0.
            documents_BT: Tokens attend to earlier tokens of equal value, which must be contiguous; padding is a document of its own.
                None: each row is one document.
            labels_BT: The token that each token predicts, or -100.
            cache: Earlier tokens' keys and values; extended by these. Only without `documents_BT`.

        Returns:
            With labels: nats, fp32 [B, T], 0 where the label is -100. Without: logits [B, T, V]; with a cache those of the last token
            alone, [B, 1, V].
        """
        assert cache is None or documents_BT is None, "a cache holds one document a row"
        past = cache.length if cache is not None else 0
        x_BTD = self.model.embed_tokens(tokens_BT)
        mask = AttentionMask.plan(positions_BT, documents_BT, self.architecture.sliding_window, past)
        context = Context(*self._rope(positions_BT, x_BTD.dtype), mask, cache)
        x_BTD = F.dropout(x_BTD, self.model.hidden_dropout, self.training)
        for block in self.blocks:
            x_BTD = block(x_BTD, context)
        if cache is not None:
            cache.length += tokens_BT.shape[1]
            x_BTD = x_BTD[:, -1:]
        x_BTD = self.model.norm(x_BTD)
        return F.linear(x_BTD, self._output_weight) if labels_BT is None else token_losses(x_BTD, self._output_weight, labels_BT)

    @property
    def _output_weight(self) -> Tensor:
        return self.model.embed_tokens.weight if self.architecture.tied_embeddings else self.lm_head.weight
