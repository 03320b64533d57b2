"""metrics.jsonl: one flat object a line, `step` first; each step stands there at most once, whatever was killed and resumed."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from cpt.storage import write_bytes

TAIL_BYTES = 65_536
"""Of the end of the file: more than two rows."""


class MetricsFile:
    """The rows of a run, in the order of their steps.

    Args:
        path: The file; made at the first row.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._last_step: int | None = None

    def append(self, step: int, values: Mapping[str, float]) -> None:
        """Adds the row of optimizer step `step`, later than every other, and flushes it. What is not finite becomes null."""
        if self._last_step is None:
            self._last_step = self._open()
        assert step > self._last_step, f"step {step} after {self._last_step}"
        with self.path.open("ab") as file:
            file.write(msgspec.json.encode({"step": step, **values}) + b"\n")
        self._last_step = step

    def rows(self) -> Iterator[dict[str, Any]]:
        """The rows that are whole: a kill may have torn the last."""
        if not self.path.exists():
            return
        with self.path.open("rb") as file:
            for line in file:
                if line.endswith(b"\n"):
                    yield msgspec.json.decode(line)

    def last_step(self) -> int:
        """The step of the last row that is whole; 0 where there is none."""
        if not self.path.exists():
            return 0
        with self.path.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - TAIL_BYTES))
            whole = [line for line in file.read().splitlines(keepends=True)[-2:] if line.endswith(b"\n")]
        return int(msgspec.json.decode(whole[-1])["step"]) if whole else 0

    def truncate_after(self, step: int) -> None:
        """Drops the rows of steps after `step`, and what a kill has torn; all rows where the run begins anew, at step 0."""
        kept = b"".join(msgspec.json.encode(row) + b"\n" for row in self.rows() if step and row["step"] <= step)
        write_bytes(str(self.path), kept)
        self._last_step = None

    def _open(self) -> int:
        """Drops a torn last line; returns the last step there is, -1 for none."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        last, whole_bytes = -1, 0
        with self.path.open("ab+") as file:
            file.seek(0)
            for line in file:
                if line.endswith(b"\n"):
                    last, whole_bytes = msgspec.json.decode(line)["step"], whole_bytes + len(line)
            file.truncate(whole_bytes)
        return last
