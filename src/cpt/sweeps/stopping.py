"""Signals that ask a sweep to stop: noted at once, and raised where that leaves nothing half done."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


class Stop:
    """Whether somebody asked this command to stop, and how often.

    Attributes:
        number: The first signal; None before.
        is_urgent: Whether there was a second.
    """

    def __init__(self) -> None:
        self.number: int | None = None
        self.is_urgent = False
        self._event = threading.Event()
        self._raises = False

    @property
    def came(self) -> bool:
        """Whether there was a signal."""
        return self.number is not None

    def receive(self, number: int, _: FrameType | None) -> None:
        """A signal came.

        Raises:
            KeyboardInterrupt: In a block of `raising`.
        """
        self.is_urgent = self.came
        self.number = self.number or number
        self._event.set()
        if self._raises:
            self._raises = False
            raise KeyboardInterrupt

    def wait(self, seconds: float) -> None:
        """Returns after so long, or when a signal comes."""
        self._event.wait(seconds)

    @contextmanager
    def raising(self) -> Iterator[None]:
        """A block that may take long and may be left anywhere: a signal does not wait for its end."""
        self._raises = True
        try:
            if self.came:
                raise KeyboardInterrupt
            yield
        finally:
            self._raises = False


@contextmanager
def stop_signals() -> Iterator[Stop]:
    """Takes the signals to stop over; only a main thread can."""
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)
    earlier: dict[int, Callable[[int, FrameType | None], object] | int | None] = {
        number: signal.signal(number, stop.receive) for number in numbers
    }
    try:
        yield stop
    finally:
        for number, handler in earlier.items():
            signal.signal(number, handler)
