"""`sweeper=grid`: every combination of the axes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from pydantic import BaseModel
from typing_extensions import override

from cpt.contracts import Choices, Interval, Sweeper, Trial
from cpt.errors import RecipeError

MAX_MEMBERS = 10_000
"""Of one sweep."""


class GridSweeper(Sweeper):
    """The product of the axes, the last one varying fastest.

    Raises:
        RecipeError: More than 10,000 members.
    """

    looks_at_results = False

    def __init__(self, options: BaseModel, axes: Mapping[str, Choices | Interval], seed: int) -> None:
        super().__init__(options, axes, seed)
        if self.size > MAX_MEMBERS:
            raise RecipeError("-m", f"{self.size:,}", f"a grid has at most {MAX_MEMBERS:,} members", "Sweep over fewer values")

    @property
    @override
    def size(self) -> int:
        return math.prod(len(values) for values in self._values.values())

    @override
    def propose(self, trials: Sequence[Trial]) -> Mapping[str, str] | None:
        number, chosen = len(trials), {}
        if number >= self.size:
            return None
        for key, values in reversed(self._values.items()):
            number, position = divmod(number, len(values))
            chosen[key] = values[position]
        return dict(reversed(chosen.items()))

    @property
    def _values(self) -> dict[str, tuple[str, ...]]:
        return {key: axis.values for key, axis in self.axes.items() if isinstance(axis, Choices)}
