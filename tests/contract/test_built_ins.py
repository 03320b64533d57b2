"""What is built in keeps the contracts that a stranger's plugin is held to."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from cpt.data.sample import SampleSource
from cpt.data.sources import JsonlSource
from cpt.launch.local import LocalLauncher
from cpt.log.tensorboard import TensorBoardLogger
from cpt.testing import DataSourceContract, LauncherContract, LoggerContract


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

    def rows(self, folder: Path, run_name: str) -> Sequence[tuple[int, str, float]]:
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator  # noqa: PLC0415  (slow)

        log = EventAccumulator(str(folder / "tensorboard"), size_guidance={"scalars": 0}).Reload()
        return [(event.step, name, event.value) for name in log.Tags()["scalars"] for event in log.Scalars(name)]
