"""Before a run: its steps, tokens, layout, memory, hours and price, and what speaks against it."""

from __future__ import annotations

import math
import time
from dataclasses import asdict, dataclass
from functools import cache

import numpy as np

from cpt.console import duration, quantity
from cpt.planning.layout import Layout, choose_layout
from cpt.recipe.architecture import Architecture
from cpt.recipe.schema import Recipe

GPU_UTILISATION = 0.40
"""Model FLOPs utilisation assumed of a GPU: what well-tuned bf16 runs of 1 B to 30 B parameters publish on H100 (30 to 50 %)."""
CPU_UTILISATION = 0.45
"""Share of this machine's measured matrix-product speed that a step of nova_tiny reaches: dev/benchmarks/2026-11-24-default-run.md."""


UNFUSED_ATTENTION = 4.0
"""Time of attention with dropout over that without on a CPU, where the fused kernel has none: 3.0 to 5.6 for 256 to 2,048 tokens, measured
with torch 2.13.0 (dev/benchmarks/2026-11-24-default-run.md)."""


@dataclass(frozen=True)
class Size:
    """How much data there is, in sequences of the recipe's length.

    Args:
        sequences: Packed training sequences.
        tokens: Training tokens of one epoch.
        exact: Counted, rather than estimated from bytes.
    """

    sequences: int
    tokens: int
    exact: bool


@dataclass(frozen=True)
class Plan:
    """What a run will be."""

    steps: int
    steps_per_epoch: int
    tokens: int
    parameters: int
    layout: Layout
    seconds: float
    price: float | None
    exact: bool

    def to_json(self) -> dict[str, object]:
        """Plain data."""
        return asdict(self)

    def lines(self, recipe: Recipe) -> list[str]:
        """The plan for a person."""
        about = "" if self.exact else "about "
        layout, cluster = self.layout, recipe.cluster
        where = (
            f"{_count(cluster.nodes, 'node', 'nodes')} of {cluster.gpus_per_node} {cluster.gpu}"
            if cluster.gpu
            else _processes(recipe, layout.world_size)
        )
        mesh = f"mesh dp_replicate {layout.dp_replicate} x dp_shard {layout.dp_shard}"
        passes = f"{_count(layout.grad_accumulation, 'pass', 'passes')} of {_count(layout.micro_batch, 'sequence', 'sequences')} a rank"
        idle = f", {layout.idle_share:.0%} of the slots idle" if layout.idle_share else ""
        recompute = ", activations recomputed" if layout.activation_checkpointing == "full" else ""
        price = f" · about ${self.price:,.0f}" if self.price and self.price >= 1 else ""
        lines = [
            f"plan  {about}{_count(self.steps, 'step', 'steps')} · {about}{quantity(self.tokens)} tokens"
            f" · {quantity(self.parameters)} parameters · {where}",
            f"      {mesh} · {passes}{idle}{recompute}",
            f"      {layout.memory_gb:.1f} GB a rank · about {duration(self.seconds)}{price}",
        ]
        if recipe.model.attention_dropout > 0:
            lines.append(
                f"      attention dropout: torch's unfused kernel here, which takes about {UNFUSED_ATTENTION:.0f} times as long on a CPU"
            )
        return lines


def make_plan(recipe: Recipe, architecture: Architecture, size: Size, world_size: int) -> Plan:
    """The plan of `recipe` over `size` on `world_size` ranks."""
    layout = choose_layout(architecture, recipe, world_size)
    steps_per_epoch = max(1, math.ceil(size.sequences / recipe.train.global_batch_size))
    steps = total_steps(recipe, steps_per_epoch)
    tokens = round(size.tokens * steps / steps_per_epoch)
    seconds = _seconds(recipe, architecture, tokens, layout)
    rate = recipe.cluster.price_per_node_hour
    price = rate * recipe.cluster.nodes * seconds / 3600 if rate else None
    return Plan(steps, steps_per_epoch, tokens, architecture.parameters, layout, seconds, price, size.exact)


def total_steps(recipe: Recipe, steps_per_epoch: int) -> int:
    """Optimizer steps of the run: `max_epochs` or `max_steps`, whichever comes first."""
    limits = (recipe.train.max_epochs and recipe.train.max_epochs * steps_per_epoch, recipe.train.max_steps)
    return min(limit for limit in limits if limit is not None)


def _processes(recipe: Recipe, world_size: int) -> str:
    """Processes of a run that names no hardware: here, unless a launcher takes them."""
    nodes = recipe.cluster.nodes
    where = "here" if nodes == 1 and recipe.launcher.name in ("auto", "local") else f"on {_count(nodes, 'node', 'nodes')}"
    return f"{_count(world_size, 'process', 'processes')} {where}"


def _count(number: int, one: str, several: str) -> str:
    return f"{number} {one if number == 1 else several}"


def _seconds(recipe: Recipe, architecture: Architecture, tokens: int, layout: Layout) -> float:
    recompute = 4 / 3 if layout.activation_checkpointing == "full" else 1
    context = recipe.train.max_length
    flops = architecture.flops_per_token(context) * tokens * recompute
    if recipe.cluster.tflops:
        speed = recipe.cluster.tflops * 1e12 * layout.world_size * GPU_UTILISATION
    else:
        speed = cpu_flops_per_second() * CPU_UTILISATION
        if recipe.model.attention_dropout > 0:
            attention = architecture.flops_per_token(context) - architecture.flops_per_token(0)
            flops += (UNFUSED_ATTENTION - 1) * attention * tokens * recompute
    return flops / speed / (1 - layout.idle_share)


@cache
def cpu_flops_per_second() -> float:
    """fp32 matrix-product speed of this machine in FLOP/s, measured once a process.

    It is that of the fastest of twenty products, so that what else runs counts little.
    """
    size = 768
    left = np.ones((size, size), np.float32)
    seconds = []
    for _ in range(20):
        started = time.perf_counter()
        left @ left
        seconds.append(time.perf_counter() - started)
    return 2 * size**3 / min(seconds)
