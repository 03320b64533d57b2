"""`trials.jsonl` in a sweep's folder, where members are drawn: the sweep's definition, then a line a member."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from cpt import storage
from cpt.errors import Fault, RecipeError
from cpt.identity import difference

FILE = "trials.jsonl"


@dataclass
class Drawn:
    """A member that was drawn.

    Args:
        label: Its name within the sweep.
        values: Its value on each axis.
        pruned: Whether the sweeper has given it up.
    """

    label: str
    values: dict[str, str]
    pruned: bool = False


@dataclass
class Journal:
    """The journal of the sweep at `location`.

    Args:
        location: The sweep's folder or URL.
        definition: What the draws depend on: plain data.
        members: In the order they were drawn.
    """

    location: str
    definition: Mapping[str, Any]
    members: list[Drawn] = field(default_factory=list)

    @classmethod
    def open(cls, location: str, definition: Mapping[str, Any]) -> Journal:
        """The journal that is there, or a new one.

        Raises:
            RecipeError: It is that of a sweep with another definition; the difference is shown.
        """
        file = storage.join(location, FILE)
        if not storage.exists(file):
            return cls(location, definition)
        first, *rest = [msgspec.json.decode(line) for line in storage.read_bytes(file).splitlines()]
        if changes := difference(first, definition):
            cure = "Type the sweep as before to go on with it, or give the new one another run.name"
            raise RecipeError.of(Fault(location, "", f"is a sweep with another definition: {line}", cure) for line in changes)
        return cls(location, definition, [Drawn(**line) for line in rest])

    def write(self) -> None:
        """Replaces the file, atomically."""
        lines: Iterable[object] = (self.definition, *(vars(member) for member in self.members))
        storage.write_bytes(
            storage.join(self.location, FILE), "".join(f"{json.dumps(line, ensure_ascii=False)}\n" for line in lines).encode()
        )
