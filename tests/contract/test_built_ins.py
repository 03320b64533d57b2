"""What is built in keeps the contracts that a stranger's plugin is held to."""

from __future__ import annotations

import csv
import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

import pytest

from cpt.contracts import Logger
from cpt.data.sample import SampleSource
from cpt.data.sources import JsonlSource
from cpt.launch.local import LocalLauncher
from cpt.log.csv_file import CsvLogger
from cpt.log.tensorboard import TensorBoardLogger
from cpt.sweeps.grid import GridSweeper
from cpt.sweeps.random_search import RandomSweeper
from cpt.testing import DataSourceContract, LauncherContract, LoggerContract, SweeperContract


class TestJsonl(DataSourceContract):
    plugin = JsonlSource

    def write(self, folder: Path, texts: Sequence[str]) -> Sequence[str]:
        folder.mkdir(parents=True, exist_ok=True)
        file = folder / "texts.jsonl"
        file.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
        return [str(file)]


class TestSample(DataSourceContract):
    plugin = SampleSource

    @pytest.fixture
    def locations(self, tmp_path: Path) -> Sequence[str]:
        return ["english_prose/held_out"]


class TestLocal(LauncherContract):
    plugin = LocalLauncher
    submits = True


class TestTensorBoard(LoggerContract):
    plugin = TensorBoardLogger

    def make(self, folder: Path, run_name: str = "run") -> Logger:
        time.sleep(1 - time.time() % 1)  # its readers order event files by the second in their names, then by process
        return super().make(folder, run_name)

    def rows(self, folder: Path, run_name: str) -> Sequence[tuple[int, str, float]]:
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator  # noqa: PLC0415  (slow)

        log = EventAccumulator(str(folder / "tensorboard"), size_guidance={"scalars": 0}).Reload()
        return [(event.step, name, event.value) for name in log.Tags()["scalars"] for event in log.Scalars(name)]


class TestCsv(LoggerContract):
    plugin = CsvLogger

    def rows(self, folder: Path, run_name: str) -> Sequence[tuple[int, str, float]]:
        with (folder / "metrics.csv").open(newline="") as file:
            lines = list(csv.DictReader(file))
        return [(int(line["step"]), name, float(value)) for line in lines for name, value in line.items() if name != "step" and value]


class TestGrid(SweeperContract):
    plugin = GridSweeper


class TestRandom(SweeperContract):
    plugin = RandomSweeper
    options: ClassVar[Mapping[str, object]] = {"trials": 8}
