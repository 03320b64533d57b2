"""What was logged, kept with the run: W&B cannot take a row back, so a run that goes on is told again what still holds."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec


class Entry(msgspec.Struct, array_like=True):
    """One call of the logger.

    Args:
        step: Optimizer step.
        kind: `metrics`, `text` or `figure`.
        name: The text's or figure's; empty for metrics.
        value: What was logged.
    """

    step: int
    kind: str
    name: str
    value: Any


class Journal:
    """The entries of a run, a line each.

    Args:
        path: The file; made at the first entry.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def append(self, entry: Entry) -> None:
        """Adds an entry and flushes it."""
        with self._path.open("ab") as file:
            file.write(msgspec.json.encode(entry) + b"\n")

    def entries(self) -> Iterator[Entry]:
        """The entries that are whole: a kill may have torn the last."""
        if self._path.exists():
            with self._path.open("rb") as file:
                yield from (msgspec.json.decode(line, type=Entry) for line in file if line.endswith(b"\n"))

    def truncate_after(self, step: int) -> None:
        """Drops the entries of steps after `step`, all of them where `step` is 0; atomically."""
        beside = self._path.with_suffix(".partial")
        with beside.open("wb") as file:
            for entry in self.entries():
                if step and entry.step <= step:
                    file.write(msgspec.json.encode(entry) + b"\n")
        beside.replace(self._path)
