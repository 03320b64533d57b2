"""The members that a sweep's command spans, without running any."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from cpt.composition import Composed, open_sweep
from cpt.sweeps.sweep import Sweep


def members(overrides: Sequence[str], recipe_file: str | Path | None = None) -> list[tuple[str, Composed]]:
    """The label and the recipe of each member of a sweep whose members are known beforehand."""
    found = Sweep.open(open_sweep(overrides, recipe_file)).members
    return [(member.label, member.composed) for member in found if member.composed]
