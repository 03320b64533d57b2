"""metrics.csv: a row a step, columns that grow, each step once whatever was killed."""

from __future__ import annotations

import csv
import math
from pathlib import Path

from cpt.contracts import NoOptions
from cpt.log.csv_file import CsvLogger


def logger(folder: Path, step: int) -> CsvLogger:
    made = CsvLogger(NoOptions(), folder, "run")
    made.start({}, step)
    return made


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_new_metric_adds_a_column_to_every_row(tmp_path: Path) -> None:
    log = logger(tmp_path, 0)
    log.metrics(0, {"validation/domain/loss": 2.5})
    log.metrics(1, {"train/loss": 0.1 + 0.2, "train/lr": 1e-5})
    log.metrics(2, {"train/lr": 2e-5, "validation/domain/loss": math.nan})
    assert (tmp_path / "metrics.csv").read_text().splitlines() == [
        "step,validation/domain/loss,train/loss,train/lr",
        "0,2.5,,",
        "1,,0.30000000000000004,1e-05",
        "2,nan,,2e-05",
    ]


def test_a_killed_run_has_each_step_once(tmp_path: Path) -> None:
    before = logger(tmp_path, 0)
    for step in range(6):
        before.metrics(step, {"train/loss": step})
    before.metrics(6, {"train/late": 1.0})
    with (tmp_path / "metrics.csv").open("a") as file:
        file.write("7,0.")
    after = logger(tmp_path, 3)
    for step in (4, 5):
        after.metrics(step, {"train/loss": 100 + step})
    assert [(int(row["step"]), float(row["train/loss"])) for row in rows(tmp_path)] == [(0, 0), (1, 1), (2, 2), (3, 3), (4, 104), (5, 105)]
    assert "train/late" not in rows(tmp_path)[0]


def test_a_run_that_begins_anew_keeps_no_row(tmp_path: Path) -> None:
    logger(tmp_path, 0).metrics(0, {"train/loss": 1.0})
    logger(tmp_path, 0)
    assert rows(tmp_path) == []


def test_a_name_with_a_comma_stays_one_column(tmp_path: Path) -> None:
    logger(tmp_path, 0).metrics(1, {'validation/a,"b"/loss': 1.0})
    assert rows(tmp_path) == [{"step": "1", 'validation/a,"b"/loss': "1.0"}]
