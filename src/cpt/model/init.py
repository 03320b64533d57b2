"""Random weights for pre-training from nothing."""

from __future__ import annotations

import hashlib
import math

import torch
from torch import Tensor
from torch.distributed.tensor import DTensor, distribute_tensor

from cpt.model.decoder import Decoder

STD = 0.02
RESIDUAL_PROJECTIONS = ("o_proj.weight", "down_proj.weight")


@torch.no_grad()
def init_weights(decoder: Decoder, seed: int) -> None:
    """Sets every parameter from (seed, its name) alone: the same weights on any device and any number of ranks.

    Matrices are normal with deviation 0.02, those that write to the residual smaller by sqrt(2 layers); norms are 1, biases 0.

    Args:
        decoder: Sharded or not; each rank makes each whole tensor in turn and keeps its own shard.
        seed: The run's seed.

    Source: GPT-2 (Radford et al. 2019, section 2.3) for the deviation and its scaling with depth.
    """
    residual_std = STD / math.sqrt(2 * decoder.architecture.layers)
    for name, parameter in decoder.named_parameters():
        std = residual_std if name.endswith(RESIDUAL_PROJECTIONS) else STD
        whole = _initial(name, parameter.shape, seed, std)
        if isinstance(parameter, DTensor):
            whole = whole.to(parameter.device)
            whole = distribute_tensor(whole, parameter.device_mesh, parameter.placements, src_data_rank=None)
        parameter.copy_(whole)


def _initial(name: str, shape: torch.Size, seed: int, std: float) -> Tensor:
    if name.endswith(".bias"):
        return torch.zeros(shape)
    if len(shape) == 1:
        return torch.ones(shape)
    digest = hashlib.sha256(f"{seed}/{name}".encode()).digest()
    generator = torch.Generator("cpu").manual_seed(int.from_bytes(digest[:8]) >> 1)
    return torch.empty(shape).normal_(0, std, generator=generator)
