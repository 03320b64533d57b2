"""All loggers of a run as one; each on a thread of its own, and one that fails is dropped with a warning: training goes on."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from queue import Full, Queue
from threading import Event, Thread
from typing import Any

from cpt import plugins
from cpt.contracts import Logger

PENDING_CALLS = 10_000
"""How far a logger may fall behind before it is dropped."""
FLUSH_S, CLOSE_S = 10.0, 60.0
"""How long a checkpoint, and the end of the run, wait for slow loggers; seconds."""

Call = Callable[[Logger], None]


def _warn(text: str) -> None:
    print(f"warning: {text}", file=sys.stderr, flush=True)


class Loggers:
    """Passes rows, texts and figures on to each logger, without waiting for any.

    Args:
        warn: Told once of every logger that is dropped, and why; by any thread.
    """

    def __init__(self, warn: Callable[[str], None] = _warn) -> None:
        self._lanes: list[_Lane] = []
        self._warn = warn

    @property
    def names(self) -> tuple[str, ...]:
        """The loggers that still take part."""
        return tuple(lane.name for lane in self._lanes if not lane.dropped)

    def add(self, name: str, make: Callable[[], Logger]) -> None:
        """Adds the logger that `make` returns; one that cannot be made is dropped."""
        self._lanes.append(_Lane(name, make, self._warn))

    def start(self, recipe: Mapping[str, object], step: int) -> None:
        """See `cpt.contracts.Logger.start`."""
        self._each(lambda logger: logger.start(recipe, step))

    def metrics(self, step: int, values: Mapping[str, float]) -> None:
        """See `cpt.contracts.Logger.metrics`."""
        self._each(lambda logger: logger.metrics(step, values))

    def text(self, step: int, name: str, text: str) -> None:
        """See `cpt.contracts.Logger.text`."""
        self._each(lambda logger: logger.text(step, name, text))

    def figure(self, step: int, name: str, figure: Mapping[str, object]) -> None:
        """See `cpt.contracts.Logger.figure`."""
        self._each(lambda logger: logger.figure(step, name, figure))

    def flush(self, timeout_s: float = FLUSH_S) -> None:
        """See `cpt.contracts.Logger.flush`; returns when all have, or after `timeout_s`.

        A checkpoint does not wait longer, nor again for a logger that has been late since.
        """
        self._each(lambda logger: logger.flush())
        _wait([lane for lane in self._lanes if not lane.late], timeout_s)

    def close(self, timeout_s: float = CLOSE_S) -> None:
        """See `cpt.contracts.Logger.close`; one that takes longer than `timeout_s` is left behind with a warning."""
        self._each(lambda logger: logger.close())
        for lane in _wait(self._lanes, timeout_s):
            lane.drop(f"did not end within {timeout_s:.0f} s; its last rows may be missing")
        for lane in self._lanes:
            lane.put(None)

    def _each(self, call: Call) -> None:
        for lane in self._lanes:
            lane.put(call)


class _Lane:
    """One logger and the thread that calls it, in order; a thread that hangs ends with the process."""

    def __init__(self, name: str, make: Callable[[], Logger], warn: Callable[[str], None]) -> None:
        self.name, self.dropped, self._warn = name, False, warn
        self._calls: Queue[Call | Event | None] = Queue(PENDING_CALLS)
        self._mark = Event()
        self._mark.set()
        try:
            logger = make()
        except Exception as error:  # a stranger's code, whatever it raises, must not end a run of days
            self._fail(error)
        else:
            Thread(target=self._serve, args=(logger,), name=f"logger-{name}", daemon=True).start()

    @property
    def late(self) -> bool:
        """Whether it has not come to the last mark."""
        return not (self._mark.is_set() or self.dropped)

    def put(self, call: Call | Event | None) -> None:
        """Hands a call to the thread; None ends it."""
        if self.dropped:
            return
        try:
            self._calls.put_nowait(call)
        except Full:
            self.drop(f"is {PENDING_CALLS:,} calls behind and takes no further part")

    def mark(self) -> None:
        """Marks how far it has to come before it is not late."""
        self._mark = Event()
        self.put(self._mark)

    def wait(self, timeout_s: float) -> None:
        """Returns when it has come to the mark, or after `timeout_s`."""
        if self.late:
            self._mark.wait(timeout_s)

    def drop(self, why: str) -> None:
        if not self.dropped:
            self.dropped = True
            self._mark.set()
            self._warn(f"logger {self.name} {why}")

    def _fail(self, error: Exception) -> None:
        self.drop(f"failed and takes no further part ({type(error).__name__}: {error})")

    def _serve(self, logger: Logger) -> None:
        while (call := self._calls.get()) is not None:
            if isinstance(call, Event):
                call.set()
            elif not self.dropped:
                try:
                    call(logger)
                except Exception as error:  # likewise
                    self._fail(error)


def _wait(lanes: list[_Lane], timeout_s: float) -> list[_Lane]:
    """Waits until all that was put before is done; returns those that are not, in time."""
    deadline = time.monotonic() + timeout_s
    for lane in lanes:
        lane.mark()
    for lane in lanes:
        lane.wait(max(0.0, deadline - time.monotonic()))
    return [lane for lane in lanes if lane.late]


def open_loggers(settings: Mapping[str, Mapping[str, Any]], folder: Path, run_name: str, warn: Callable[[str], None] = _warn) -> Loggers:
    """The loggers that a recipe names.

    Args:
        settings: The recipe's `logger`: each one's options by its name.
        folder: The run's local folder.
        run_name: The run's name.
        warn: Told of every logger that is dropped.

    Raises:
        PluginError: A logger is not installed, is broken, or refuses its options.
    """
    loaded = {name: plugins.load("loggers", name, options, f"logger.{name}") for name, options in settings.items()}
    loggers = Loggers(warn)
    for name, (logger_class, options) in loaded.items():
        loggers.add(name, lambda make=logger_class, options=options: make(options, folder, run_name))  # type: ignore[misc]
    return loggers
