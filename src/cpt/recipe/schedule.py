"""The learning rate as a pure function of the step."""

from __future__ import annotations

import math

from cpt.recipe.schema import Sched


def learning_rate(sched: Sched, optim_lr: float, step: int, total_steps: int) -> float:
    """The rate that optimizer step `step` uses.

    With s = step - 1, W warm-up steps, C constant steps, T steps in all, and u the share of the decay that is done:

        all        s <= W         lr (s + 1) / (W + 1)
        cosine     W < s < T - C  min_lr + (lr - min_lr) (1 + cos(pi u)) / 2,  u = (s - W) / (T - W - C)
                   else           min_lr
        wsd        W < s <= S     lr
                   S < s          min_lr + (lr - min_lr) (1 - sqrt(u)),        u = (s - S) / (T - 1 - S)
        constant   W < s          lr

    where S, the last step of `wsd` at the peak, is W + C, or 4 T / 5 - 1 (at least W) where C is 0. A decay for which no step is left
    does not take place: under `cosine`, min_lr follows the warm-up; `wsd` ends at its peak.

    Args:
        sched: The curve.
        optim_lr: The peak.
        step: From 1.
        total_steps: T, at least 1.

    Source: NeMo's CosineAnnealing for `cosine`; Hägele et al. 2024 (arXiv 2405.18392), section 3, for `wsd` and its decay.
    """
    s, warmup, span = step - 1, sched.warmup_steps, optim_lr - sched.min_lr
    if s <= warmup:
        return optim_lr * ((s + 1) / (warmup + 1))  # the quotient first: exactly optim_lr at the peak
    if sched.name == "constant":
        return optim_lr
    if sched.name == "wsd":
        last_at_peak = _last_at_peak(sched, total_steps)
        if s <= last_at_peak:
            return optim_lr
        return sched.min_lr + span * (1 - math.sqrt(min(1.0, (s - last_at_peak) / max(1, total_steps - 1 - last_at_peak))))
    if s >= total_steps - sched.constant_steps:
        return sched.min_lr
    return sched.min_lr + span * (1 + math.cos(math.pi * (s - warmup) / (total_steps - warmup - sched.constant_steps))) / 2


def schedule_warnings(sched: Sched, total_steps: int) -> tuple[str, ...]:
    """What a run of `total_steps` steps makes of the curve that its author may not have meant: a peak or a decay that never comes."""
    warmup, steps = sched.warmup_steps, "1 step" if total_steps == 1 else f"{total_steps} steps"
    if total_steps <= warmup:
        return (f"sched.warmup_steps: {warmup}: optim.lr is never reached in {steps}",)
    if sched.name == "cosine" and total_steps - warmup - sched.constant_steps <= 1:
        return (
            f"sched.constant_steps: {sched.constant_steps}: nothing decays in {steps}: sched.min_lr follows the {warmup} warm-up steps",
        )
    if sched.name == "wsd" and _last_at_peak(sched, total_steps) >= total_steps - 1:
        return (f"sched.constant_steps: {sched.constant_steps}: nothing decays in {steps}: the run ends at optim.lr",)
    return ()


def _last_at_peak(sched: Sched, total_steps: int) -> int:
    if sched.constant_steps:
        return sched.warmup_steps + sched.constant_steps
    return max(sched.warmup_steps, 4 * total_steps // 5 - 1)
