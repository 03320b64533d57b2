"""Signals set a flag and nothing else; the ranks agree on it in the all-reduce of the next step, and save between steps."""

from __future__ import annotations

import signal
from enum import IntEnum
from types import FrameType


class Stop(IntEnum):
    """Why a run should end early; the higher wins where ranks differ."""

    NO = 0
    PREEMPTED = 1
    """SIGTERM or SIGUSR1: somebody needs the machine."""
    INTERRUPTED = 2
    """SIGINT: Ctrl-C."""


REASONS = {signal.SIGTERM: Stop.PREEMPTED, signal.SIGUSR1: Stop.PREEMPTED, signal.SIGINT: Stop.INTERRUPTED}


class StopSignals:
    """Remembers the strongest reason to stop that this process was given."""

    def __init__(self) -> None:
        self.reason = Stop.NO

    def install(self) -> None:
        """Takes the signals over; call it after Lightning has installed its own handlers, which save and broadcast inside them."""
        for number in REASONS:
            signal.signal(number, self._receive)

    def _receive(self, number: int, _: FrameType | None) -> None:
        self.reason = max(self.reason, REASONS[signal.Signals(number)])
