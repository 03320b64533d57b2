"""What a person sees while something runs: one live line on a terminal, plain lines elsewhere. stderr only."""

from __future__ import annotations

import shutil
import sys
import time
from typing import TextIO


class StatusLine:
    """A line that rewrites itself on a terminal; elsewhere at most one line every `interval_s` seconds.

    Args:
        stream: Where to write; stderr by default.
        interval_s: Seconds between lines where the stream is not a terminal.
    """

    def __init__(self, stream: TextIO | None = None, interval_s: float = 10.0) -> None:
        self.stream = stream or sys.stderr
        self.live = self.stream.isatty()
        self.interval_s = 0.1 if self.live else interval_s
        self._shown_at = float("-inf")
        self._pending = ""

    def update(self, text: str) -> None:
        """Shows `text` as the current state, if enough time has passed since the last."""
        now = time.monotonic()
        if now - self._shown_at < self.interval_s:
            return
        self._shown_at = now
        if self.live:
            width = shutil.get_terminal_size().columns - 1
            self._pending = text
            self._write(f"\r\033[K{text[:width]}")
        else:
            self._write(f"{text}\n")

    def line(self, text: str) -> None:
        """Leaves `text` on a line of its own, above the live line."""
        self._write(f"\r\033[K{text}\n" if self._pending else f"{text}\n")
        self._pending = ""

    def clear(self) -> None:
        """Takes the live line away."""
        if self._pending:
            self._write("\r\033[K")
            self._pending = ""

    def _write(self, text: str) -> None:
        self.stream.write(text)
        self.stream.flush()


def say(text: str) -> None:
    """A line for the person at the terminal, on stderr: stdout carries results only."""
    print(text, file=sys.stderr, flush=True)


def duration(seconds: float) -> str:
    """`75` is "1:15", `7200` is "2:00:00"."""
    whole = max(0, round(seconds))
    hours, minutes, rest = whole // 3600, whole // 60 % 60, whole % 60
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def quantity(number: float) -> str:
    """`1_840_000` is "1.8 M", `8600` is "8.6 k"."""
    for size, unit in ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k")):
        if abs(number) >= size:
            return f"{number / size:.1f} {unit}"
    return f"{number:.0f}"
