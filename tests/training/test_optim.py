"""The optimizer is the recipe's: decay on matrices only, decoupled or not, fused or not, and the same mathematics."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from cpt.composition import compose
from cpt.recipe.schema import Optim
from cpt.training.optim import make_optimizer


def optim(*overrides: str) -> Optim:
    return compose(["optim.lr=1e-2", "sched.min_lr=0", "optim.weight_decay=0.1", *overrides]).recipe.optim


def step(settings: Optim, gradient: float = 0.0) -> nn.Module:
    """A matrix of ones and a norm of ones after one step with a constant gradient."""
    module = nn.Sequential(nn.Linear(3, 3, bias=False), nn.RMSNorm(3))
    for parameter in module.parameters():
        nn.init.ones_(parameter)
        parameter.grad = torch.full_like(parameter, gradient)
    make_optimizer(module, settings).step()
    return module


def test_decay_falls_on_matrices_and_not_on_norms() -> None:
    module = step(optim())
    assert module[0].weight.unique().item() == pytest.approx(1 - 1e-2 * 0.1)
    assert module[1].weight.unique().item() == 1.0


def test_without_adam_w_mode_decay_is_part_of_the_gradient() -> None:
    """Adam normalises the gradient, so that any decay alone moves a weight by the whole rate."""
    module = step(optim("optim.adam_w_mode=false"))
    assert module[0].weight.unique().item() == pytest.approx(1 - 1e-2, abs=1e-6)


@pytest.mark.parametrize("mode", ["true", "false"])
def test_fused_and_unfused_compute_the_same(mode: str) -> None:
    fused = step(optim(f"optim.adam_w_mode={mode}"), 0.3)
    plain = step(optim(f"optim.adam_w_mode={mode}", "optim.name=adamw"), 0.3)
    for one, other in zip(fused.parameters(), plain.parameters(), strict=True):
        assert torch.allclose(one, other, atol=1e-7)
