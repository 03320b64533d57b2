"""Causal attention inside documents, on the fastest correct kernel for device and input.

The seam for variable-length kernels: `AttentionMask.plan` decides the form once a forward pass, `attend` runs it in every block.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

CALL_COST = 256 * 256
"""Scores that one more kernel call must save to pay for itself on a CPU.

Measured on one x86 core in fp32, forward and backward: at 2,048 tokens (9 heads of 64) a mask takes 261 to 277 ms whatever it says, the
causal kernel 158 ms, 4 documents one by one 83 ms, 16 of them 63 ms; at 8 x 256 tokens of 4 documents (6 heads of 32) 14 ms and 22 ms.
"""


@dataclass(frozen=True)
class AttentionMask:
    """Which keys each query sees, in the cheapest form that says it.

    Args:
        dense_BTS: True where query t sees key s, [B, 1, T, S]; None: `causal` says all.
        spans: Documents as (row, first token, token after the last), each causal by itself; None: rows are not taken apart.
        causal: Queries see no later keys; False with no mask: queries see every key.
    """

    dense_BTS: Tensor | None = None
    spans: tuple[tuple[int, int, int], ...] | None = None
    causal: bool = True

    @classmethod
    def plan(cls, positions_BT: Tensor, documents_BT: Tensor | None, window: int | None, past: int) -> AttentionMask:
        """The mask for one forward pass.

        Args:
            positions_BT: The tokens' positions; of the shape and device alone use is made here.
            documents_BT: Tokens see tokens of equal value, which must be contiguous; None: each row is one document.
            window: Tokens, the own one included, that attention looks back; None: all.
            past: Tokens whose keys a cache already holds, in front of these.
        """
        tokens = positions_BT.shape[1]
        if window is not None and window >= past + tokens:
            window = None
        if documents_BT is None and window is None and (past == 0 or tokens == 1):
            return cls(causal=past == 0)
        if documents_BT is not None and window is None and documents_BT.device.type == "cpu":
            spans = _spans(documents_BT)
            if len(spans) == len(documents_BT):
                return cls()
            if len(spans) * CALL_COST < len(documents_BT) * tokens * tokens / 2:
                return cls(spans=spans)
        return cls(dense_BTS=_dense(tokens, past, window, documents_BT, positions_BT.device))


def attend(q_BHTK: Tensor, k_BJSK: Tensor, v_BJSK: Tensor, mask: AttentionMask, dropout: float) -> Tensor:
    """Grouped-query attention, [B, H, T, K].

    Args:
        q_BHTK: Queries; H is a multiple of the J key heads.
        k_BJSK: Keys, rotated.
        v_BJSK: Values.
        mask: Which keys each query sees.
        dropout: Probability of dropping an attention weight; with 1 the result is zero. The kernels that cannot drop are not used then.
    """
    if dropout == 1:
        return attend(q_BHTK, k_BJSK, v_BJSK, mask, 0.0) * 0  # CUDA's fused kernels take only p < 1
    if mask.spans is None:
        return _kernel(q_BHTK, k_BJSK, v_BJSK, mask.dense_BTS, mask.causal, dropout)
    rows: list[list[Tensor]] = [[] for _ in q_BHTK]
    for row, start, end in mask.spans:
        q, k, v = (x[row : row + 1, :, start:end] for x in (q_BHTK, k_BJSK, v_BJSK))
        rows[row].append(_kernel(q, k, v, None, True, dropout))
    return torch.cat([torch.cat(pieces, dim=2) for pieces in rows])


def _kernel(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, causal: bool, dropout: float) -> Tensor:
    groups = q.shape[1] // k.shape[1]
    if groups > 1 and mask is not None and q.is_cuda:  # the memory-efficient kernel, the one that takes a mask, wants equal heads
        k, v = k.repeat_interleave(groups, dim=1), v.repeat_interleave(groups, dim=1)
        groups = 1
    return F.scaled_dot_product_attention(q, k, v, mask, dropout, is_causal=causal and mask is None, enable_gqa=groups > 1)


def _dense(tokens: int, past: int, window: int | None, documents_BT: Tensor | None, device: torch.device) -> Tensor:
    queries_T1 = torch.arange(past, past + tokens, device=device)[:, None]
    keys_S = torch.arange(past + tokens, device=device)
    seen_TS = keys_S <= queries_T1
    if window is not None:
        seen_TS &= keys_S > queries_T1 - window
    if documents_BT is None:
        return seen_TS[None, None]
    return (seen_TS & (documents_BT[:, :, None] == documents_BT[:, None, :]))[:, None]


def _spans(documents_BT: Tensor) -> tuple[tuple[int, int, int], ...]:
    spans = []
    for row, documents in enumerate(documents_BT):
        inner = (torch.nonzero(documents[1:] != documents[:-1]).flatten() + 1).tolist()
        edges = [0, *inner, len(documents)]
        spans += [(row, start, end) for start, end in pairwise(edges)]
    return tuple(spans)


class KeyValueCache:
    """Rotated keys and values of the tokens already seen, for generation; each layer takes its memory once, when it first sees a token.

    Args:
        capacity: Tokens that fit.
    """

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.length = 0
        """Tokens held, the same in every layer between two forward passes."""
        self._layers: dict[int, tuple[Tensor, Tensor]] = {}

    def extend(self, layer: int, k_BJTK: Tensor, v_BJTK: Tensor) -> tuple[Tensor, Tensor]:
        """Stores a layer's new keys and values behind the `length` held, and returns all of that layer's."""
        end = self.length + k_BJTK.shape[2]
        assert end <= self.capacity, "the cache is full"
        if layer not in self._layers:
            batch, heads, _, width = k_BJTK.shape
            self._layers[layer] = (
                k_BJTK.new_empty(batch, heads, self.capacity, width),
                v_BJTK.new_empty(batch, heads, self.capacity, width),
            )
        keys, values = self._layers[layer]
        keys[:, :, self.length : end] = k_BJTK
        values[:, :, self.length : end] = v_BJTK
        return keys[:, :, :end], values[:, :, :end]
