"""A logger that fails is dropped with one warning; the others, and the run, go on."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from cpt.contracts import Logger, NoOptions
from cpt.errors import PluginError
from cpt.log import Loggers, open_loggers


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

    def close(self) -> None:
        self._note("close")


@pytest.mark.parametrize("fails_at", ["start", "metrics", "text", "close"])
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
    loggers.close()
    assert [call[0] for call in good.calls] == ["start", "metrics", "text", "metrics", "text", "close"]
    assert warnings == ["logger bad failed and takes no further part (OSError: the server is gone)"]
    assert loggers.names == ("good",)


def test_a_logger_that_cannot_be_made_is_dropped() -> None:
    warnings: list[str] = []
    loggers = Loggers(warnings.append)
    loggers.add("bad", lambda: 1 / 0)  # type: ignore[arg-type, return-value]
    assert loggers.names == ()
    assert "ZeroDivisionError" in warnings[0]


def test_an_unknown_logger_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PluginError, match=r"logger\.tensorbord.*Did you mean tensorboard"):
        open_loggers({"tensorbord": {}}, tmp_path, "run")
