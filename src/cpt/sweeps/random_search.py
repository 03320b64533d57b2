"""`sweeper=random`: combinations drawn at random, none twice."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Mapping, Sequence

from pydantic import Field
from typing_extensions import override

from cpt.contracts import Choices, Interval, Sweeper, Trial
from cpt.recipe.frozen import Frozen

DIGITS, MOST_DIGITS, DRAWS_A_DIGIT = 4, 17, 100
"""Significant digits of a drawn number; where these tell too few numbers apart, one more after every 100 draws."""


class RandomOptions(Frozen):
    """`sweeper.options` of `sweeper=random`."""

    trials: int = Field(20, ge=1, le=10_000)
    """Members, or as many as the axes allow where that is fewer."""


class RandomSweeper(Sweeper):
    """Each axis evenly, or evenly in its logarithm. Member k is a function of the seed, of k, and of what the members before it are:
    a larger `trials` adds to a sweep.
    """

    Options = RandomOptions
    takes_intervals = True
    looks_at_results = False

    @property
    @override
    def size(self) -> int:
        assert isinstance(self.options, RandomOptions)
        return int(min(self.options.trials, math.prod(map(_values, self.axes.values()))))

    @override
    def propose(self, trials: Sequence[Trial]) -> Mapping[str, str] | None:
        if len(trials) >= self.size:
            return None
        taken = {tuple(trial.values[key] for key in self.axes) for trial in trials}
        generator = random.Random(f"{self.seed}/{len(trials)}")  # noqa: S311  (no secret)
        for draws in itertools.count():
            digits = min(DIGITS + draws // DRAWS_A_DIGIT, MOST_DIGITS)
            values = {key: draw(axis, generator, digits) for key, axis in self.axes.items()}
            if tuple(values.values()) not in taken:
                return values
        raise AssertionError


def draw(axis: Choices | Interval, generator: random.Random, digits: int) -> str:
    """A value on `axis` as text, with so many significant digits."""
    if isinstance(axis, Choices):
        return generator.choice(axis.values)
    low, high = axis.low, axis.high + axis.whole  # a whole number stands for all up to the next
    number = math.exp(generator.uniform(math.log(low), math.log(high))) if axis.log else generator.uniform(low, high)
    if axis.whole:
        return str(min(math.floor(number), math.floor(axis.high)))
    text = f"{number:.{digits}g}"
    return text if axis.low <= float(text) <= axis.high else repr(min(max(number, axis.low), axis.high))


def _values(axis: Choices | Interval) -> float:
    """How many values an axis has."""
    if isinstance(axis, Choices):
        return len(axis.values)
    return math.floor(axis.high) - math.ceil(axis.low) + 1 if axis.whole else math.inf
