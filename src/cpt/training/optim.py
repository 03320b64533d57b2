"""The optimizer of the recipe, on sharded parameters."""

from __future__ import annotations

from torch import nn
from torch.optim import Adam, AdamW, Optimizer

from cpt.recipe.schema import Optim


def make_optimizer(module: nn.Module, optim: Optim) -> Optimizer:
    """Adam or AdamW over `module`'s parameters, with weight decay on matrices and embeddings only.

    `distributed_fused_adam` is torch's fused Adam: on FSDP's sharded parameters each rank updates its shard, which is what the name
    says. `adam_w_mode` off adds the decay to the gradient instead.

    Source: Kingma and Ba 2015; Loshchilov and Hutter 2019 (decoupled decay).
    """
    matrices = [p for p in module.parameters() if p.ndim > 1]
    others = [p for p in module.parameters() if p.ndim <= 1]
    groups = [{"params": matrices, "weight_decay": optim.weight_decay}, {"params": others, "weight_decay": 0.0}]
    kind = AdamW if optim.adam_w_mode else Adam
    return kind(groups, lr=optim.lr, betas=optim.betas, eps=optim.eps, fused=optim.name == "distributed_fused_adam" or None)
