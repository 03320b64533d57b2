"""TensorBoard shows our names, our texts, and after a resume only the rows that count."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from cpt import plugins
from cpt.errors import PluginError
from cpt.log.tensorboard import TensorBoardLogger, TensorBoardOptions


def log(folder: Path, after: int, steps: range, loss: float) -> None:
    logger = TensorBoardLogger(TensorBoardOptions(), folder, "run")
    logger.start({"train": {"max_length": 256}}, after)
    for step in steps:
        logger.metrics(step, {"train/loss": loss + step, "validation/domain/loss": 1.0})
    logger.text(steps[-1], "sample/before", "def main():")
    logger.close()


def read(folder: Path) -> EventAccumulator:
    events = EventAccumulator(str(folder / "tensorboard"), size_guidance={"scalars": 0, "tensors": 0})
    events.Reload()
    return events


def rows(folder: Path) -> list[tuple[int, float]]:
    return [(event.step, event.value) for event in read(folder).Scalars("train/loss")]


def test_scalars_and_texts_are_read_back_under_our_names(tmp_path: Path) -> None:
    log(tmp_path, 0, range(1, 4), 10)
    assert rows(tmp_path) == [(1, 11.0), (2, 12.0), (3, 13.0)]
    events = read(tmp_path)
    assert set(events.Tags()["scalars"]) == {"train/loss", "validation/domain/loss"}
    assert events.Tensors("sample/before")[0].tensor_proto.string_val == [b"def main():"]
    assert b'"max_length": 256' in events.Tensors("recipe")[0].tensor_proto.string_val[0]
    assert events.SummaryMetadata("recipe").plugin_data.plugin_name == "text"


def test_rows_after_the_resumed_step_are_void(tmp_path: Path) -> None:
    log(tmp_path, 0, range(6), 0)
    log(tmp_path, 3, range(4, 7), 100)
    assert rows(tmp_path) == [(0, 0), (1, 1), (2, 2), (3, 3), (4, 104), (5, 105), (6, 106)]


def test_a_run_that_begins_anew_voids_everything(tmp_path: Path) -> None:
    log(tmp_path, 0, range(3), 0)
    log(tmp_path, 0, range(2), 100)
    assert rows(tmp_path) == [(0, 100), (1, 101)]


def test_its_options_are_checked() -> None:
    assert plugins.load("loggers", "tensorboard", {"flush_s": 1.5}, "logger.tensorboard")[0] is TensorBoardLogger
    with pytest.raises(PluginError, match=r"logger\.tensorboard\.flush: 1: unknown option\. Did you mean flush_s"):
        plugins.load("loggers", "tensorboard", {"flush": 1}, "logger.tensorboard")


def test_it_needs_neither_torch_nor_tensorflow(tmp_path: Path) -> None:
    code = """
import sys
from pathlib import Path
from cpt.log import open_loggers
loggers = open_loggers({"tensorboard": {}}, Path(sys.argv[1]), "run")
loggers.start({}, 0)
loggers.metrics(1, {"train/loss": 1.0})
loggers.close()
print([name for name in ("torch", "tensorflow", "lightning") if name in sys.modules], loggers.names)
"""
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[] ('tensorboard',)"
    assert list((tmp_path / "tensorboard").glob("events.out.tfevents.*"))
