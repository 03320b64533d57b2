"""The members of a grid of overrides, and their names."""

from __future__ import annotations

import hashlib
import itertools
import math
import re
from collections.abc import Iterator, Sequence

from cpt.errors import Fault, RecipeError

MAX_MEMBERS, MAX_LABEL = 10_000, 150
"""Runs of one grid; characters of a member's name."""


def members(axes: Sequence[Sequence[str]]) -> Iterator[tuple[str, tuple[str, ...]]]:
    """The label and the overrides of each member of the product of `axes`, the last axis varying fastest.

    A label is the overrides that vary (where none does, all of them), joined by commas, as a folder's name: other characters than
    letters, digits and `._=,+-` are replaced by `_`, and one that would be long or not unique ends in a hash.

    Raises:
        RecipeError: More than 10,000 members.
    """
    if (size := math.prod(map(len, axes))) > MAX_MEMBERS:
        raise RecipeError(Fault("-m", f"{size:,}", f"a grid has at most {MAX_MEMBERS:,} members", "Sweep over fewer values"))
    taken: set[str] = set()
    least = 2 if size > 1 else 1
    for member in itertools.product(*axes):
        exact = ",".join(text for text, axis in zip(member, axes, strict=True) if len(axis) >= least)
        label = re.sub(r"[^\w.=,+-]", "_", exact, flags=re.ASCII)
        if len(label) > MAX_LABEL or label in taken:
            label = f"{label[: MAX_LABEL - 9]}-{hashlib.sha256(exact.encode()).hexdigest()[:8]}"
        taken.add(label)
        yield label, member
