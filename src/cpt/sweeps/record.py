"""What a run's metrics say so far: read on while somebody else writes them."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from typing import Any

import msgspec

from cpt import storage
from cpt.rundir import RunDirectory

TRAIN_POINTS = 400
"""Of a training loss, at most: a thousand members of ten thousand steps must fit into memory."""


class Curve(dict[int, float]):
    """Values by step, evenly thinned: whenever there are more than `most`, every second one goes. The newest is always among them.

    Args:
        most: Values to keep; None: all.
    """

    def __init__(self, most: int | None) -> None:
        super().__init__()
        self._most, self._stride, self._seen = most, 1, 0

    def add(self, step: int, value: float) -> None:
        """Adds the newest."""
        if (self._seen - 1) % self._stride:
            self.popitem()  # it stood only for being the newest
        self[step] = value
        self._seen += 1
        if self._most is not None and len(self) > self._most:
            kept = [*self.items()]
            self.clear()
            self.update([*kept[:-1:2], kept[-1]])
            self._stride *= 2


class RunRecord:
    """The losses of a run.

    Args:
        run: The run, which may not have begun.

    Attributes:
        losses: By name and step, in nats a token; NaN where one was not finite. Of the training loss at most 400 values, evenly spaced, and
            the newest.
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
        self.losses: dict[str, Curve] = {}
        self.steps, self.seconds, self._tokens = 0, 0.0, 0
        self._inode, self._read_bytes, self._version = 0, 0, ""

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
        if not self._version and not storage.exists(self._location):
            return b""
        if (version := storage.version(self._location)) == self._version:
            return b""
        data = storage.read_bytes(self._location)
        self._forget()
        self._version = version
        return data

    def _take(self, row: dict[str, Any]) -> None:
        step = self.steps = row["step"]
        for name, value in row.items():
            if name.endswith("/loss"):
                curve = self.losses.setdefault(name, Curve(TRAIN_POINTS if name.startswith("train/") else None))
                curve.add(step, math.nan if value is None else value)
        tokens, speed = row.get("train/tokens"), row.get("train/tokens_per_second")
        if tokens and speed:
            self.seconds += (tokens - self._tokens) / speed
            self._tokens = tokens
