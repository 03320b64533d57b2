"""Which ranks hold what: the mesh, the micro-batches, and the memory that decides them. Formulas, no torch."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import product
from typing import Literal

from cpt.errors import ResourceError
from cpt.recipe.architecture import Architecture
from cpt.recipe.schema import Recipe

Checkpointing = Literal["none", "full"]
GB = 1e9
USABLE_SHARE = 0.92
"""Of a GPU's memory: the rest is the CUDA context, NCCL buffers and fragmentation."""
TOKENS_IN_FLIGHT = 8192
"""`micro_batch_size: auto` packs up to this many tokens into a forward pass: enough for full-speed matrix products."""


@dataclass(frozen=True)
class Layout:
    """How one optimizer step is spread over ranks."""

    world_size: int
    dp_replicate: int
    dp_shard: int
    micro_batch: int
    """Sequences in one forward pass of a rank."""
    grad_accumulation: int
    """Forward passes of a rank in one step."""
    idle_share: float
    """Share of a step's sequence slots that hold no sequence: ranks do not always divide the batch."""
    activation_checkpointing: Checkpointing
    memory_gb: float
    """Peak of one rank, in GB, by formula."""


def memory_gb(architecture: Architecture, recipe: Recipe, dp_shard: int, micro_batch: int, checkpointing: Checkpointing) -> float:
    """Peak memory of one rank in GB.

    fp32 weights, gradients and two Adam moments (16 bytes a parameter, over `dp_shard` ranks), the largest unsharded block twice
    (prefetch) in compute precision, the activations of `micro_batch` sequences, one chunk of logits, and the output projection's gradient.

    Source: Korthikanti et al. 2022 (arXiv 2205.05198), equation 2, for SwiGLU, grouped heads and a fused attention kernel.
    """
    width_bytes = 4 if recipe.train.precision == "fp32" else 2
    states = 16 * architecture.parameters / dp_shard
    block = (architecture.parameters - architecture.vocabulary * architecture.width) / architecture.layers
    unsharded = 0 if dp_shard == 1 and width_bytes == 4 else (2 * block + architecture.vocabulary * architecture.width) * width_bytes
    tokens = micro_batch * recipe.train.max_length
    q_width, kv_width = architecture.heads * architecture.head_width, architecture.kv_heads * architecture.head_width
    of_a_block = (6 * architecture.width + 2 * q_width + 2 * kv_width + 4 * architecture.ffn_width) * width_bytes
    stored = (
        architecture.layers * architecture.width * width_bytes + of_a_block if checkpointing == "full" else architecture.layers * of_a_block
    )
    logits = min(tokens * architecture.vocabulary * 4, 64 * 2**20) * 2
    output_gradient = architecture.vocabulary * architecture.width * 4  # of the whole output projection, in fp32, before it is reduced
    return (states + unsharded + tokens * stored + logits + output_gradient) / GB


def choose_layout(architecture: Architecture, recipe: Recipe, world_size: int) -> Layout:
    """The layout that the recipe asks for, with what it leaves open chosen: the least recomputation, then the smallest shard group that
    fits the GPU's memory. Where that memory is not known: sharded over all ranks, nothing recomputed. If nothing fits, the last tried,
    whose `memory_gb` says so.

    Raises:
        ResourceError: The mesh that the recipe asks for is not the ranks that there are.
    """
    _refuse_misfit(recipe, world_size)
    batch = recipe.train.global_batch_size
    for checkpointing, shard in product(_checkpointings(recipe), _shard_sizes(recipe, world_size)):
        micro_batch = _micro_batch(architecture, recipe, world_size, shard, checkpointing)
        needed = memory_gb(architecture, recipe, shard, micro_batch, checkpointing)
        if fits(needed, recipe):
            break
    accumulation = math.ceil(math.ceil(batch / world_size) / micro_batch)
    idle_share = 1 - batch / (world_size * accumulation * micro_batch)
    return Layout(world_size, world_size // shard, shard, micro_batch, accumulation, idle_share, checkpointing, needed)


def fits(needed_gb: float, recipe: Recipe) -> bool:
    """Whether a rank's peak fits the cluster's GPU; true where the GPU is not known."""
    return recipe.cluster.memory_gb is None or needed_gb <= recipe.cluster.memory_gb * USABLE_SHARE


def _refuse_misfit(recipe: Recipe, world_size: int) -> None:
    asked = {axis: size for axis in ("dp_replicate", "dp_shard") if (size := getattr(recipe.parallel, axis)) is not None}
    ranks = math.prod(asked.values())
    if world_size % ranks or (len(asked) == 2 and ranks != world_size):
        mesh = " x ".join(f"{axis} {size}" for axis, size in asked.items())
        rule = f"does not make the {world_size:,} {'rank' if world_size == 1 else 'ranks'} of cluster={recipe.cluster.name}"
        raise ResourceError("parallel", mesh, rule, "Use sizes whose product is the ranks, or parallel=auto")


def _shard_sizes(recipe: Recipe, world_size: int) -> list[int]:
    parallel = recipe.parallel
    if parallel.dp_shard:
        return [parallel.dp_shard]
    if parallel.dp_replicate:
        return [world_size // parallel.dp_replicate]
    if recipe.cluster.memory_gb is None:
        return [world_size]
    node = recipe.cluster.gpus_per_node or 1
    return [size for size in range(node, world_size + 1, node) if world_size % size == 0] or [world_size]


def _checkpointings(recipe: Recipe) -> list[Checkpointing]:
    asked = recipe.parallel.activation_checkpointing
    if asked is not None:
        return [asked]
    return ["none"] if recipe.cluster.memory_gb is None else ["none", "full"]


def _micro_batch(architecture: Architecture, recipe: Recipe, world_size: int, shard: int, checkpointing: Checkpointing) -> int:
    asked = recipe.train.micro_batch_size
    if asked != "auto":
        return asked
    share = math.ceil(recipe.train.global_batch_size / world_size)
    largest = max(1, min(share, TOKENS_IN_FLIGHT // recipe.train.max_length))
    while largest > 1 and not fits(memory_gb(architecture, recipe, shard, largest, checkpointing), recipe):
        largest -= 1
    return math.ceil(share / math.ceil(share / largest))  # the same number of passes, evenly filled
