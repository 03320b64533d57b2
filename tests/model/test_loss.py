"""The chunked loss is the plain loss."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from cpt.model import loss
from cpt.model.loss import token_losses

SHAPE = (2, 37, 16)
VOCABULARY = 301


def inputs(dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    hidden_BTD = torch.randn(SHAPE).to(dtype).requires_grad_()
    weight_VD = torch.randn(VOCABULARY, SHAPE[2]).to(dtype).requires_grad_()
    labels_BT = torch.randint(VOCABULARY, SHAPE[:2])
    labels_BT[:, ::5] = -100
    return hidden_BTD, weight_VD, labels_BT, torch.randn(SHAPE[:2])


def reference(hidden: Tensor, weight: Tensor, labels: Tensor, upstream: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Losses and gradients in float64."""
    hidden, weight = (tensor.detach().double().requires_grad_() for tensor in (hidden, weight))
    losses = F.cross_entropy((hidden @ weight.T).flatten(0, 1), labels.flatten(), reduction="none").view_as(labels)
    losses.backward(upstream)
    assert hidden.grad is not None
    assert weight.grad is not None
    return losses.detach(), hidden.grad, weight.grad


@pytest.mark.parametrize("rows", [1, 10, 73, 74])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-6), (torch.bfloat16, 2 * 2**-7)])
def test_losses_and_gradients_are_those_of_plain_cross_entropy(
    rows: int, dtype: torch.dtype, tolerance: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loss, "CHUNK_BYTES", rows * 4 * VOCABULARY)
    hidden, weight, labels, upstream = inputs(dtype)
    losses = token_losses(hidden, weight, labels)
    losses.backward(upstream)
    assert losses.dtype == torch.float32
    assert not losses[labels == -100].any()
    for found, expected in zip((losses, hidden.grad, weight.grad), reference(hidden, weight, labels, upstream), strict=True):
        assert found is not None
        scale = float(expected.abs().max())
        torch.testing.assert_close(found.double(), expected, atol=tolerance * scale, rtol=0)


def test_the_gradient_of_the_weight_is_summed_over_chunks_in_fp32(monkeypatch: pytest.MonkeyPatch) -> None:
    """Chunk after chunk adds less than bf16 can resolve: a bf16 sum would stand still."""
    tokens = 2048
    hidden = torch.ones(1, tokens, 1, dtype=torch.bfloat16)
    weight = torch.zeros(2, 1, dtype=torch.bfloat16, requires_grad=True)
    monkeypatch.setattr(loss, "CHUNK_BYTES", 2 * 4)
    token_losses(hidden, weight, torch.zeros(1, tokens, dtype=torch.long)).sum().backward()
    assert weight.grad is not None
    assert weight.grad.flatten().tolist() == [-tokens / 2, tokens / 2]


def test_logits_of_all_tokens_are_never_held(monkeypatch: pytest.MonkeyPatch) -> None:
    largest: list[int] = []
    plain: Any = F.linear

    def recording(*arguments: Tensor) -> Tensor:
        logits: Tensor = plain(*arguments)
        largest.append(logits.numel() * 4)
        return logits

    monkeypatch.setattr(loss, "CHUNK_BYTES", 20_000)
    monkeypatch.setattr(F, "linear", recording)
    hidden, weight, labels, _ = inputs()
    token_losses(hidden, weight, labels).sum().backward()
    assert len(largest) == 2 * 5
    assert max(largest) <= 20_000


def test_a_row_without_labels_has_neither_loss_nor_gradient(monkeypatch: pytest.MonkeyPatch) -> None:
    for limit in (1, loss.CHUNK_BYTES):
        monkeypatch.setattr(loss, "CHUNK_BYTES", limit)
        hidden, weight, labels, _ = inputs()
        losses = token_losses(hidden, weight, torch.full_like(labels, -100))
        losses.sum().backward()
        assert not losses.any()
        assert all(tensor.grad is not None and not tensor.grad.any() for tensor in (hidden, weight))
