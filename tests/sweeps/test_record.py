"""What is read of a run's metrics: little enough for a thousand members, nothing again that has not changed."""

from __future__ import annotations

import itertools
import json
import math
from pathlib import Path

import pytest

from cpt import storage
from cpt.rundir import RunDirectory
from cpt.sweeps.record import TRAIN_POINTS, Curve, RunRecord


@pytest.mark.parametrize("count", [1, 2, 7, 8, 9, 10, 31, 1000, 1023, 1024, 1025])
def test_a_thinned_curve_is_even_and_ends_with_the_newest(count: int) -> None:
    curve = Curve(8)
    for step in range(count):
        curve.add(step, step / 2)
    steps = list(curve)
    gaps = {after - before for before, after in itertools.pairwise(steps[:-1])}
    assert len(gaps) <= 1
    assert (steps[0], steps[-1]) == (0, count - 1)
    assert min(count, 4) <= len(curve) <= 9
    assert all(value == step / 2 for step, value in curve.items())


def test_training_losses_are_thinned_and_validation_losses_are_not(tmp_path: Path) -> None:
    rows = [{"step": step, "train/loss": step, "validation/a/loss": None if step == 2 else step} for step in range(5000)]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    record = RunRecord(RunDirectory.at(str(tmp_path)))
    assert record.refresh()
    assert len(record.losses["train/loss"]) <= TRAIN_POINTS
    assert (record.before("train/loss"), record.after("train/loss")) == (0, 4999)
    assert len(record.losses["validation/a/loss"]) == 5000
    assert math.isnan(record.losses["validation/a/loss"][2])


def test_metrics_at_a_url_are_fetched_again_only_when_they_have_changed(s3: str, monkeypatch: pytest.MonkeyPatch) -> None:
    fetched: list[str] = []
    read = storage.read_bytes
    monkeypatch.setattr(storage, "read_bytes", lambda location, *rest: fetched.append(location) or read(location, *rest))
    record = RunRecord(RunDirectory(s3, "r"))
    assert not record.refresh()
    storage.write_bytes(f"{s3}/r/metrics.jsonl", b'{"step": 0, "train/loss": 3.0}\n')
    assert [record.refresh(), record.refresh(), record.refresh()] == [True, False, False]
    storage.write_bytes(f"{s3}/r/metrics.jsonl", b'{"step": 0, "train/loss": 3.0}\n{"step": 1, "train/loss": 2.0}\n')
    assert [record.refresh(), record.refresh()] == [True, False]
    assert len(fetched) == 2
    assert record.after("train/loss") == 2.0
