"""A logger that fails is dropped with one warning; the others, and the run, go on."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from threading import Event

import pytest

from cpt.contracts import Logger, NoOptions
from cpt.errors import PluginError
from cpt.log import Loggers, open_loggers
from cpt.log.loggers import PENDING_CALLS


class Memory(Logger):
    """Keeps what it is given; fails where it is told to."""

    def __init__(self, fails_at: str = "") -> None:
        super().__init__(NoOptions(), Path(), "run")
        self.fails_at, self.calls = fails_at, list[tuple[object, ...]]()

    def _note(self, *call: object) -> None:
        if call[0] == self.fails_at:
            raise OSError("the server is gone")
        self.calls.append(call)

    def start(self, recipe: Mapping[str, object], step: int) -> None:
        self._note("start", step)

    def metrics(self, step: int, values: Mapping[str, float]) -> None:
        self._note("metrics", step)

    def text(self, step: int, name: str, text: str) -> None:
        self._note("text", step)

    def figure(self, step: int, name: str, figure: Mapping[str, object]) -> None:
        self._note("figure", step)

    def flush(self) -> None:
        self._note("flush")

    def close(self) -> None:
        self._note("close")


class Stuck(Memory):
    """Waits in `metrics` for as long as the test wants."""

    def __init__(self) -> None:
        super().__init__()
        self.go_on = Event()

    def metrics(self, step: int, values: Mapping[str, float]) -> None:
        self.go_on.wait(30)
        super().metrics(step, values)


@pytest.mark.parametrize("fails_at", ["start", "metrics", "text", "figure", "flush", "close"])
def test_a_failing_logger_is_dropped_once_and_the_others_hear_everything(fails_at: str) -> None:
    warnings: list[str] = []
    good, bad = Memory(), Memory(fails_at)
    loggers = Loggers(warnings.append)
    loggers.add("bad", lambda: bad)
    loggers.add("good", lambda: good)
    loggers.start({}, 0)
    for step in (1, 2):
        loggers.metrics(step, {})
        loggers.text(step, "sample", "x")
    loggers.figure(2, "figure", {})
    loggers.flush()
    loggers.close()
    assert [call[0] for call in good.calls] == ["start", "metrics", "text", "metrics", "text", "figure", "flush", "close"]
    assert warnings == ["logger bad failed and takes no further part (OSError: the server is gone)"]
    assert loggers.names == ("good",)


def test_a_logger_that_cannot_be_made_is_dropped() -> None:
    warnings: list[str] = []
    loggers = Loggers(warnings.append)
    loggers.add("bad", lambda: 1 / 0)  # type: ignore[arg-type, return-value]
    assert loggers.names == ()
    assert "ZeroDivisionError" in warnings[0]


def test_a_slow_logger_holds_up_neither_the_run_nor_the_others() -> None:
    warnings: list[str] = []
    slow, good = Stuck(), Memory()
    loggers = Loggers(warnings.append)
    loggers.add("slow", lambda: slow)
    loggers.add("good", lambda: good)
    begin = time.monotonic()
    for step in range(100):
        loggers.metrics(step, {})
    assert time.monotonic() - begin < 1
    loggers.flush(timeout_s=0.1)
    assert len(good.calls) == 101
    slow.go_on.set()
    loggers.close()
    assert [call[1] for call in slow.calls if call[0] == "metrics"] == list(range(100))
    assert warnings == []


def test_what_was_logged_is_written_when_flush_returns() -> None:
    logger = Memory()
    loggers = Loggers()
    loggers.add("memory", lambda: logger)
    for step in range(1000):
        loggers.metrics(step, {})
    loggers.flush()
    assert logger.calls[-1] == ("flush",)


def test_a_logger_that_never_ends_is_left_behind_with_a_warning() -> None:
    warnings: list[str] = []
    stuck = Stuck()
    loggers = Loggers(warnings.append)
    loggers.add("stuck", lambda: stuck)
    loggers.metrics(1, {})
    loggers.close(timeout_s=0.1)
    assert warnings == ["logger stuck did not end within 0 s; its last rows may be missing"]
    stuck.go_on.set()


def test_a_logger_that_hangs_delays_one_checkpoint_and_no_more() -> None:
    stuck, good = Stuck(), Memory()
    loggers = Loggers()
    loggers.add("stuck", lambda: stuck)
    loggers.add("good", lambda: good)
    waited_s = []
    for step in (1, 2):
        loggers.metrics(step, {})
        begin = time.monotonic()
        loggers.flush(timeout_s=0.5)
        waited_s.append(time.monotonic() - begin)
    assert waited_s[0] >= 0.5 > waited_s[1]
    assert [call[0] for call in good.calls] == ["metrics", "flush"] * 2
    stuck.go_on.set()
    loggers.close()
    assert len(stuck.calls) == 5


def test_a_logger_that_falls_far_behind_is_dropped() -> None:
    warnings: list[str] = []
    stuck = Stuck()
    loggers = Loggers(warnings.append)
    loggers.add("stuck", lambda: stuck)
    for step in range(PENDING_CALLS + 10):
        loggers.metrics(step, {})
    assert warnings == ["logger stuck is 10,000 calls behind and takes no further part"]
    stuck.go_on.set()


def test_an_unknown_logger_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PluginError, match=r"logger\.tensorbord.*Did you mean tensorboard"):
        open_loggers({"tensorbord": {}}, tmp_path, "run")
