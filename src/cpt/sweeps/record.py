"""What a run's metrics say so far: read on while somebody else writes them."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from typing import Any

import msgspec

from cpt import storage
from cpt.rundir import RunDirectory


class RunRecord:
    """The losses of a run.

    Args:
        run: The run, which may not have begun.

    Attributes:
        losses: By name and step, in nats a token; NaN where one was not finite.
        steps: Optimizer steps done.
        seconds: Spent in steps.
    """

    def __init__(self, run: RunDirectory) -> None:
        self._location = run.uri("metrics.jsonl")
        self._forget()

    def refresh(self) -> bool:
        """Reads what is new, and says whether there is."""
        rows = list(self._new_rows())
        for row in rows:
            self._take(row)
        return bool(rows)

    def first_metric(self) -> str | None:
        """The loss of the first validation set."""
        return next((name for name in self.losses if name.startswith("validation/")), None)

    def before(self, metric: str | None) -> float | None:
        """The first value of a loss."""
        return next(iter(self.losses.get(metric or "", {}).values()), None)

    def after(self, metric: str | None) -> float | None:
        """Its newest value."""
        return next(reversed(self.losses.get(metric or "", {}).values()), None)

    def _forget(self) -> None:
        self.losses: dict[str, dict[int, float]] = {}
        self.steps, self.seconds, self._tokens = 0, 0.0, 0
        self._inode, self._read_bytes = 0, 0

    def _new_rows(self) -> Iterator[dict[str, Any]]:
        data = self._remote_bytes() if storage.is_url(self._location) else self._local_bytes()
        whole = data[: data.rfind(b"\n") + 1]  # a row may be half written
        self._read_bytes += len(whole)
        yield from map(msgspec.json.decode, whole.splitlines())

    def _local_bytes(self) -> bytes:
        try:
            file = storage.local_path(self._location).open("rb")
        except FileNotFoundError:
            return b""
        with file:
            status = os.fstat(file.fileno()).st_ino
            if status != self._inode or file.seek(0, 2) < self._read_bytes:  # a run that goes on writes the file anew
                self._forget()
                self._inode = status
            file.seek(self._read_bytes)
            return file.read()

    def _remote_bytes(self) -> bytes:
        if not storage.exists(self._location):
            return b""
        data = storage.read_bytes(self._location)
        self._forget()
        return data

    def _take(self, row: dict[str, Any]) -> None:
        step = self.steps = row["step"]
        for name, value in row.items():
            if name.endswith("/loss"):
                self.losses.setdefault(name, {})[step] = math.nan if value is None else value
        tokens, speed = row.get("train/tokens"), row.get("train/tokens_per_second")
        if tokens and speed:
            self.seconds += (tokens - self._tokens) / speed
            self._tokens = tokens
