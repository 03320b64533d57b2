"""What a logger promises."""

from __future__ import annotations

import math
import multiprocessing
import os
import signal
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from cpt.contracts import Logger
from cpt.testing.plugin import PluginContract

RECIPE: dict[str, object] = {
    "run": {"name": "run"},
    "optim": {"lr": 1e-4, "betas": [0.9, 0.95]},
    "model": {"init": None},
}
FIGURE: dict[str, object] = {"data": [{"type": "scatter", "x": [1, 2], "y": [2.5, 2.25]}], "layout": {"title": {"text": "loss"}}}
PROCESS_S = 120
"""Seconds that a process which logs a few rows may take."""


class LoggerContract(PluginContract):
    """Give `plugin` and `rows`: what is logged is held against what `rows` reads back."""

    contract = Logger

    def rows(self, folder: Path, run_name: str) -> Sequence[tuple[int, str, float]]:
        """Every value that a reader of the run's log finds: step, name, value."""
        raise NotImplementedError("override rows(): the suite has to see what was logged")

    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        """The run's folder."""
        folder = tmp_path / "run"
        folder.mkdir()
        return folder

    def make(self, folder: Path, run_name: str = "run") -> Logger:
        """A new instance."""
        return self.plugin(self.make_options(), folder, run_name)  # type: ignore[no-any-return]

    def test_what_is_logged_is_read_back(self, folder: Path) -> None:
        losses = {step: 4 - step / 256 for step in range(1, 301)}
        _log(self.make(folder), 0, losses)
        assert self._loss(folder) == losses

    def test_every_name_of_a_row_is_kept(self, folder: Path) -> None:
        row = {"train/loss": 2.5, "train/lr": 0.0625, "validation/held_out/loss": 3.0}
        logger = self.make(folder)
        logger.start(RECIPE, 0)
        logger.metrics(1, row)
        logger.close()
        assert {name: value for step, name, value in self.rows(folder, "run") if step == 1 and name in row} == row

    def test_texts_and_figures_are_taken(self, folder: Path) -> None:
        logger = self.make(folder)
        logger.start(RECIPE, 0)
        logger.text(1, "samples/greedy", "def f():\n\treturn '日本語 🎈'\n")
        logger.figure(1, "loss", FIGURE)
        logger.metrics(1, {"train/loss": 2.5})
        logger.close()
        assert self._loss(folder) == {1: 2.5}

    def test_a_loss_that_is_no_number_stops_nothing(self, folder: Path) -> None:
        _log(self.make(folder), 0, {1: math.nan, 2: math.inf, 3: 2.5})
        assert self._loss(folder)[3] == 2.5

    def test_a_run_that_goes_on_has_each_step_once(self, folder: Path) -> None:
        """Rows after the step it goes on from are those of the later process."""
        _log(self.make(folder), 0, {1: 2.5, 2: 2.25, 3: 9.0, 4: 9.0})
        _log(self.make(folder), 2, {3: 2.0, 4: 1.75})
        assert self._loss(folder) == {1: 2.5, 2: 2.25, 3: 2.0, 4: 1.75}

    def test_a_run_that_begins_anew_has_no_earlier_row(self, folder: Path) -> None:
        _log(self.make(folder), 0, {1: 9.0, 2: 9.0, 3: 9.0})
        _log(self.make(folder), 0, {1: 2.5, 2: 2.25})
        assert self._loss(folder) == {1: 2.5, 2: 2.25}

    def test_a_run_that_was_killed_goes_on(self, folder: Path) -> None:
        """What was flushed before the kill is there; of the rest, nothing stands twice."""
        _end(self._process(folder, "run", {1: 2.5, 2: 2.25, 3: 9.0, 4: 9.0}, killed=True), -signal.SIGKILL)
        _log(self.make(folder), 2, {3: 2.0, 4: 1.75})
        assert self._loss(folder) == {1: 2.5, 2: 2.25, 3: 2.0, 4: 1.75}

    def test_a_run_that_is_killed_as_it_goes_on_keeps_its_rows(self, folder: Path) -> None:
        """Those up to the step that it goes on from, whatever a start does to those after it."""
        _log(self.make(folder), 0, {1: 2.5, 2: 2.25, 3: 9.0})
        _end(self._process(folder, "run", {}, step=2, killed=True), -signal.SIGKILL)
        assert {step: loss for step, loss in self._loss(folder).items() if step <= 2} == {1: 2.5, 2: 2.25}

    def test_it_is_made_on_one_thread_and_called_on_another(self, folder: Path) -> None:
        logger = self.make(folder)
        with ThreadPoolExecutor(1) as thread:
            thread.submit(_log, logger, 0, {1: 2.5, 2: 2.25}).result()
        assert self._loss(folder) == {1: 2.5, 2: 2.25}

    def test_several_runs_log_at_once(self, tmp_path: Path) -> None:
        """Members of a sweep: processes of their own, names with a slash."""
        members = {f"sweep/optim.lr={lr}": {1: lr, 2: 2 * lr} for lr in (0.5, 0.25)}
        folders = {name: tmp_path / name for name in members}
        for folder in folders.values():
            folder.mkdir(parents=True)
        for process in [self._process(folders[name], name, losses) for name, losses in members.items()]:
            _end(process, 0)
        assert {name: self._loss(folders[name], name) for name in members} == members

    def test_closing_twice_does_nothing(self, folder: Path) -> None:
        logger = self.make(folder)
        _log(logger, 0, {1: 2.5})
        logger.close()
        assert self._loss(folder) == {1: 2.5}

    def _loss(self, folder: Path, run_name: str = "run") -> dict[int, float]:
        """The training loss by step; no step may have two."""
        found = [(step, value) for step, name, value in self.rows(folder, run_name) if name == "train/loss"]
        assert len(dict(found)) == len(found), f"a step stands twice: {found}"
        return dict(found)

    def _process(self, folder: Path, run_name: str, losses: Mapping[int, float], step: int = 0, killed: bool = False) -> BaseProcess:
        """A started process that logs `losses`, as the run's part from `step` on."""
        place = (self.plugin, self.make_options(), folder, run_name)
        process = multiprocessing.get_context("forkserver").Process(target=_log_alone, args=(place, step, losses, killed))
        process.start()
        return process


def _log(logger: Logger, step: int, losses: Mapping[int, float], killed: bool = False) -> None:
    """A run, or its part from `step` on; one that is killed was flushed after its second row."""
    logger.start(RECIPE, step)
    for number, (at, loss) in enumerate(losses.items(), 1):
        logger.metrics(at, {"train/loss": loss})
        if killed and number == 2:
            logger.flush()
    if killed:
        os.kill(os.getpid(), signal.SIGKILL)
    logger.close()


def _log_alone(place: tuple[Any, BaseModel, Path, str], step: int, losses: Mapping[int, float], killed: bool) -> None:
    """In a process of its own: plugin, options, folder and the run's name make the logger."""
    plugin, *arguments = place
    _log(plugin(*arguments), step, losses, killed)


def _end(process: BaseProcess, exit_code: int) -> None:
    """Waits for `process`, which must end with `exit_code`."""
    process.join(PROCESS_S)
    if process.exitcode is None:
        process.kill()
    assert process.exitcode == exit_code, f"the process that logs ended with {process.exitcode}"
