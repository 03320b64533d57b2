"""`cpt train logger=[tensorboard,aim]`, killed and gone on with; and several runs that write to one repository at once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from aim.sdk.repo import Repo

RECIPE = [
    "model.init=random",
    "data.train=domain.jsonl",
    "train.max_length=64",
    "train.global_batch_size=8",
    "train.max_steps=30",
    "train.validate_every=10",
    "checkpoint.every=5",
    "eval.max_tokens=4",
    "cluster.processes=2",
    "logger=[tensorboard,aim]",
    "logger.aim.tags=[killed]",
    "run.name=one",
]


def train(folder: Path) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "XDG_CACHE_HOME": str(folder / "cache")}
    return subprocess.Popen([sys.executable, "-m", "cpt", "train", *RECIPE], cwd=folder, env=environment, stderr=subprocess.PIPE)


def wait_for(condition: Any, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 120
    while not condition():
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)


def points(repo: Repo) -> dict[tuple[int, str], list[float]]:
    found: dict[tuple[int, str], list[float]] = {}
    for metric in repo.query_metrics("True", report_mode=0).iter():
        for step, (value, *_) in metric.data.items():
            found.setdefault((step, metric.name), []).append(value)
    return found


@pytest.mark.timeout(240)
def test_a_run_of_two_ranks_that_was_killed_is_one_aim_run_with_each_step_once(tmp_path: Path) -> None:
    (tmp_path / "domain.jsonl").write_text("".join(json.dumps({"text": f"Valve {n} opens at {n * 7 % 40} bar."}) + "\n" for n in range(60)))
    run, killed = tmp_path / "outputs" / "one", train(tmp_path)
    metrics = run / "metrics.jsonl"
    wait_for(lambda: metrics.exists() and len(metrics.read_bytes().splitlines()) > 8, killed)
    killed.kill()
    killed.communicate()
    again = train(tmp_path)
    _, errors = again.communicate(timeout=200)
    assert again.returncode == 0, errors.decode()
    assert b"logger" not in errors, errors.decode()
    rows = [json.loads(line) for line in metrics.read_bytes().splitlines()]
    repo = Repo(str(tmp_path / "outputs"))
    assert points(repo) == {(row["step"], name): [value] for row in rows for name, value in row.items() if name != "step"}
    assert [row["step"] for row in rows] == list(range(31))
    (found,) = repo.iter_runs()
    assert (found.name, found.tags) == ("one", ["killed"])
    assert found["train"]["max_length"] == 64
    samples = {texts.name: texts.data.indices_list() for texts in repo.query_texts("True", report_mode=0).iter()}
    assert samples == {"sample/before": [0], "sample/after": [30]}
    assert [figures.name for figures in repo.query_figure_objects("True", report_mode=0).iter()] == ["figure/held_out/change"]


MEMBER = """
import sys
from pathlib import Path
import cpt_aim.logger
from cpt_aim import AimLogger, AimOptions
cpt_aim.logger.INDEX_EVERY_S = 0.05
output, name = Path(sys.argv[1]), sys.argv[2]
logger = AimLogger(AimOptions(), output / name, name)
logger.start({"optim": {"lr": float(name[-1])}}, 0)
for step in range(300):
    logger.metrics(step, {"train/loss": step + float(name[-1]) / 10})
    logger.text(step, "sample/now", f"{name} {step}")
logger.close()
"""


def test_members_of_a_sweep_that_write_at_once_lose_nothing(tmp_path: Path) -> None:
    names = [f"sweep/lr={n}" for n in range(4)]
    processes = [subprocess.Popen([sys.executable, "-c", MEMBER, str(tmp_path), name], stderr=subprocess.PIPE) for name in names]
    for process in processes:
        _, errors = process.communicate(timeout=100)
        assert process.returncode == 0, errors.decode()
    repo = Repo(str(tmp_path))
    assert sorted(run.name for run in repo.iter_runs()) == names
    found = {m.run.name: [value for _, (value, *_) in m.data.items()] for m in repo.query_metrics("True", report_mode=0).iter()}
    assert found == {name: [step + float(name[-1]) / 10 for step in range(300)] for name in names}
    texts = {t.run.name: [text.data for _, (text, *_) in t.data.items()] for t in repo.query_texts("True", report_mode=0).iter()}
    assert texts == {name: [f"{name} {step}" for step in range(300)] for name in names}
