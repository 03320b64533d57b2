"""Cross-entropy of a linear projection, without ever holding the logits of all tokens."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F  # noqa: N812

IGNORED = -100
"""The label of a token that predicts nothing."""
CHUNK_BYTES = 64 * 2**20
"""Largest block of fp32 logits held at a time."""


def token_losses(hidden_BTD: Tensor, weight_VD: Tensor, labels_BT: Tensor) -> Tensor:
    """Cross-entropy in nats of each token's label under softmax(hidden · weightᵀ): fp32 [B, T], 0 where the label is -100.

    Numerics: logits in the type of the inputs, softmax and sums over chunks in fp32. Where the logits exceed `CHUNK_BYTES` they are made
    chunk by chunk, and again in the backward pass: the weight's gradient needs each token's own upstream gradient, unknown before.
    """
    hidden_ND, labels_N = hidden_BTD.flatten(0, 1), labels_BT.flatten()
    rows = max(1, CHUNK_BYTES // (4 * len(weight_VD)))
    if len(labels_N) <= rows:
        losses_N = F.cross_entropy(F.linear(hidden_ND, weight_VD).float(), labels_N, ignore_index=IGNORED, reduction="none")
    else:
        losses_N = _ChunkedCrossEntropy.apply(hidden_ND, weight_VD, labels_N, rows)  # type: ignore[no-untyped-call]
    return losses_N.view_as(labels_BT).clone()  # FSDP warns of a root module that returns a view


class _ChunkedCrossEntropy(torch.autograd.Function):
    """The loss of `rows` tokens at a time; keeps only the log of each token's normaliser."""

    @staticmethod
    def forward(ctx: Any, hidden_ND: Tensor, weight_VD: Tensor, labels_N: Tensor, rows: int) -> Tensor:
        normalisers, losses = [], []
        for hidden, labels in zip(torch.split(hidden_ND, rows), torch.split(labels_N, rows), strict=True):
            logits = F.linear(hidden, weight_VD).float()
            normaliser = logits.logsumexp(dim=-1)
            of_label = logits.gather(-1, labels.clamp(min=0)[:, None])[:, 0]
            losses.append((normaliser - of_label).masked_fill(labels == IGNORED, 0))
            normalisers.append(normaliser)
        ctx.save_for_backward(hidden_ND, weight_VD, labels_N, torch.cat(normalisers))
        ctx.rows = rows
        return torch.cat(losses)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads_N: Tensor) -> tuple[Tensor, Tensor, None, None]:
        hidden_ND, weight_VD, labels_N, normalisers_N = ctx.saved_tensors
        upstream_N = grads_N[0].masked_fill(labels_N == IGNORED, 0)
        grad_hidden_ND = torch.empty_like(hidden_ND)
        grad_weight_VD = torch.zeros_like(weight_VD, dtype=torch.float32)
        by_token = (upstream_N, hidden_ND, labels_N, normalisers_N, grad_hidden_ND)
        chunks = zip(*(torch.split(tensor, ctx.rows) for tensor in by_token), strict=True)
        for upstream, hidden, labels, normaliser, grad_hidden in chunks:
            grad_logits = F.linear(hidden, weight_VD).float().sub_(normaliser[:, None]).exp_()
            grad_logits.scatter_add_(1, labels.clamp(min=0)[:, None], grad_logits.new_full((len(labels), 1), -1))
            grad_logits = grad_logits.mul_(upstream[:, None]).to(hidden.dtype)
            torch.mm(grad_logits, weight_VD, out=grad_hidden)
            if weight_VD.dtype == torch.float32:
                grad_weight_VD.addmm_(grad_logits.T, hidden)
            else:
                grad_weight_VD += grad_logits.T @ hidden
        return grad_hidden_ND, grad_weight_VD.to(weight_VD.dtype), None, None
