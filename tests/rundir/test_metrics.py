"""Each step stands in metrics.jsonl at most once, whatever was killed and resumed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cpt.metrics import MetricsFile


def steps(path: Path) -> list[int]:
    return [json.loads(line)["step"] for line in path.read_text().splitlines()]


def test_a_row_is_one_flat_line_with_step_first(tmp_path: Path) -> None:
    metrics = MetricsFile(tmp_path / "deep" / "metrics.jsonl")
    metrics.append(0, {"validation/domain/loss": 2.5})
    metrics.append(1, {"train/loss": 0.1 + 0.2, "train/tokens": 4096, "train/grad_norm": float("nan")})
    lines = metrics.path.read_text().splitlines()
    assert lines[1] == '{"step":1,"train/loss":0.30000000000000004,"train/tokens":4096,"train/grad_norm":null}'
    assert next(metrics.rows()) == {"step": 0, "validation/domain/loss": 2.5}


def test_a_resume_drops_what_comes_after_its_step_and_writes_it_again(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    first = MetricsFile(path)
    for step in range(6):
        first.append(step, {"train/loss": 1.0})
    second = MetricsFile(path)
    second.truncate_after(3)
    second.append(4, {"train/loss": 2.0})
    assert steps(path) == [0, 1, 2, 3, 4]
    assert list(second.rows())[-1]["train/loss"] == 2.0


def test_a_run_that_begins_anew_keeps_no_row(tmp_path: Path) -> None:
    metrics = MetricsFile(tmp_path / "metrics.jsonl")
    metrics.append(0, {})
    metrics.truncate_after(0)
    metrics.append(0, {})
    assert steps(metrics.path) == [0]


@pytest.mark.parametrize("kept_bytes", [1, 5, 20])
def test_a_line_torn_by_a_kill_is_dropped(tmp_path: Path, kept_bytes: int) -> None:
    path = tmp_path / "metrics.jsonl"
    MetricsFile(path).append(1, {"train/loss": 1.0})
    whole = path.read_bytes()
    path.write_bytes(whole + whole.replace(b'"step":1', b'"step":2')[:kept_bytes])
    assert [row["step"] for row in MetricsFile(path).rows()] == [1]
    MetricsFile(path).append(2, {"train/loss": 2.0})
    assert steps(path) == [1, 2]
    path.write_bytes(path.read_bytes() + whole[:kept_bytes])
    MetricsFile(path).truncate_after(9)
    assert steps(path) == [1, 2]


def test_a_step_cannot_be_written_twice(tmp_path: Path) -> None:
    MetricsFile(tmp_path / "metrics.jsonl").append(5, {})
    with pytest.raises(AssertionError):
        MetricsFile(tmp_path / "metrics.jsonl").append(5, {})
