"""The learning rate is the curve that the specification writes down, at every step."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cpt.recipe.schedule import learning_rate, schedule_warnings
from cpt.recipe.schema import Sched

LR, MIN_LR = 1e-4, 1e-6
few_steps = st.integers(0, 30)


def sched(name: str, warmup: int = 0, constant: int = 0, min_lr: float = MIN_LR) -> Sched:
    return Sched(name=name, warmup_steps=warmup, constant_steps=constant, min_lr=min_lr)


def curve(schedule: Sched, total: int) -> list[float]:
    return [learning_rate(schedule, LR, step, total) for step in range(1, total + 1)]


def specified(s: int, W: int, C: int, T: int) -> float:
    """nova-cpt.md, word for word."""
    if s <= W:
        return LR * (s + 1) / (W + 1)
    if T - W - C >= 1 and s < T - C:
        return MIN_LR + (LR - MIN_LR) * (1 + math.cos(math.pi * (s - W) / (T - W - C))) / 2
    return MIN_LR


@settings(deadline=None)
@given(warmup=few_steps, constant=few_steps, total=st.integers(1, 100))
def test_cosine_is_the_specifications_curve(warmup: int, constant: int, total: int) -> None:
    expected = [specified(s, warmup, constant, total) for s in range(total)]
    assert curve(sched("cosine", warmup, constant), total) == pytest.approx(expected, rel=1e-12)


def test_the_documents_example_at_known_steps() -> None:
    rates = curve(sched("cosine", 10, 0), 391)
    assert rates[0] == pytest.approx(LR / 11)
    assert rates[10] == LR == max(rates)
    assert rates[10 + 190] == pytest.approx(MIN_LR + (LR - MIN_LR) * (1 + math.cos(math.pi * 190 / 381)) / 2)
    assert MIN_LR < rates[-1] < MIN_LR * 1.01


def test_the_last_constant_steps_hold_the_minimum() -> None:
    rates = curve(sched("cosine", 5, 10), 50)
    assert rates[-10:] == [MIN_LR] * 10
    assert rates[-11] > MIN_LR


def test_without_room_to_decay_the_minimum_follows_the_warm_up() -> None:
    assert curve(sched("cosine", 5, 20), 20)[5:] == [LR] + [MIN_LR] * 14


def test_wsd_holds_the_peak_and_ends_at_the_minimum() -> None:
    rates = curve(sched("wsd", 10, 50), 100)
    assert rates[10:61] == [LR] * 51
    assert all(later < earlier for earlier, later in pairwise(rates[60:]))
    assert rates[-1] == pytest.approx(MIN_LR, rel=1e-9)
    assert rates[70] == pytest.approx(MIN_LR + (LR - MIN_LR) * (1 - math.sqrt(10 / 39)))


def test_wsd_without_constant_steps_decays_in_the_last_fifth() -> None:
    rates = curve(sched("wsd", 10), 100)
    assert rates[79] == LR > rates[80]
    assert curve(sched("wsd", 90), 100)[90] == LR


def test_constant_stays_at_the_peak_after_the_warm_up() -> None:
    assert curve(sched("constant", 3), 10)[2:] == [LR * 3 / 4] + [LR] * 7


@settings(deadline=None)
@given(
    name=st.sampled_from(["cosine", "wsd", "constant"]),
    warmup=few_steps,
    constant=few_steps,
    total=st.integers(1, 60),
    beyond=st.integers(0, 5),
)
def test_no_curve_leaves_its_bounds(name: str, warmup: int, constant: int, total: int, beyond: int) -> None:
    rates = [learning_rate(sched(name, warmup, constant), LR, step, total) for step in range(1, total + beyond + 1)]
    assert all(0 < rate <= LR for rate in rates)
    assert all(rate >= MIN_LR * (1 - 1e-9) for rate in rates[warmup:])
    assert max(rates) < LR or len(rates) > warmup


@settings(deadline=None)
@given(name=st.sampled_from(["cosine", "wsd"]), warmup=few_steps, constant=few_steps, total=st.integers(1, 60))
def test_a_curve_that_lacks_its_peak_or_its_decay_is_warned_of_and_no_other(name: str, warmup: int, constant: int, total: int) -> None:
    schedule = sched(name, warmup, constant)
    rates = curve(schedule, total)
    lacks_peak = LR not in rates
    in_between = [rate for rate in rates[warmup + 1 :] if MIN_LR < rate < LR]
    lacks_decay = not in_between and (name == "cosine" or rates[-1] != pytest.approx(MIN_LR))
    assert bool(schedule_warnings(schedule, total)) == (lacks_peak or lacks_decay)


def test_warnings_name_the_key() -> None:
    assert schedule_warnings(sched("cosine", 10), 10) == ("sched.warmup_steps: 10: optim.lr is never reached in 10 steps",)
    assert schedule_warnings(sched("cosine", 10, 90), 100) == (
        "sched.constant_steps: 90: nothing decays in 100 steps: sched.min_lr follows the 10 warm-up steps",
    )
    assert schedule_warnings(sched("wsd", 10, 90), 100) == (
        "sched.constant_steps: 90: nothing decays in 100 steps: the run ends at optim.lr",
    )
    assert schedule_warnings(sched("constant", 10), 11) == ()
