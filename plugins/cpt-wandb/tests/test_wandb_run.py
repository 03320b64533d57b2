"""A run of ours is one offline run of W&B: what it holds, and what is left of it after a kill."""

from __future__ import annotations

import csv
import html
import json
import math
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from wandb_offline_run import history, records

from cpt import plugins
from cpt.errors import PluginError
from cpt.log import open_loggers
from cpt_wandb import WandbLogger, WandbOptions

RECIPE: dict[str, object] = {"optim": {"lr": 1e-5, "betas": [0.9, 0.95]}, "model": {"init": None}}
FIGURE = {"data": [{"type": "scatter", "x": [0.0, 1.0], "y": [-0.5, 0.25]}], "layout": {}}
TEXT = "def f(a: int) -> bool: return a < 3 & 1  # 日本語\n"


def log(folder: Path, after: int, steps: range, name: str = "run") -> None:
    logger = WandbLogger(WandbOptions(mode="offline", tags=("cpu",)), folder, name)
    logger.start(RECIPE, after)
    for step in steps:
        logger.metrics(step, {"train/loss": 100.0 * after + step, "train/bad": math.nan})
    logger.text(steps[-1], "sample/now", TEXT)
    logger.figure(steps[-1], "figure/domain/change", FIGURE)
    logger.close()


def media(folder: Path, kind: str) -> list[str]:
    return [path.read_text(encoding="utf-8") for path in folder.glob(f"wandb/offline-run-*/files/media/{kind}/**/*") if path.is_file()]


def losses(folder: Path) -> list[tuple[int, float]]:
    return [(step, row["train/loss"]) for step, row in history(folder)]


def test_recipe_texts_figures_and_tags_are_read_back(tmp_path: Path) -> None:
    log(tmp_path, 0, range(3), name="sweep/optim.lr=1e-5")
    (run,) = [record.run for record in records(tmp_path) if record.WhichOneof("record_type") == "run"]
    config = {item.key: json.loads(item.value_json) for item in run.config.update}
    assert {key: config[key] for key in RECIPE} == RECIPE
    assert (run.display_name, run.run_group, run.project, list(run.tags)) == ("sweep/optim.lr=1e-5", "sweep", "cpt", ["cpu"])
    last = dict(history(tmp_path))[2]
    assert last["sample/now"]["_type"] == "html-file"
    assert last["figure/domain/change"]["_type"] == "plotly-file"
    assert media(tmp_path, "html") == [f"<pre>{html.escape(TEXT)}</pre>"]
    assert [json.loads(figure) for figure in media(tmp_path, "plotly")] == [FIGURE]


def test_a_run_that_goes_on_is_one_offline_run_with_each_step_once(tmp_path: Path) -> None:
    log(tmp_path, 0, range(9))
    with (tmp_path / "loggers" / "wandb.jsonl").open("a") as journal:
        journal.write('[9,"metr')
    log(tmp_path, 3, range(4, 6))
    assert losses(tmp_path) == [(0, 0), (1, 1), (2, 2), (3, 3), (4, 304), (5, 305)]
    assert len(list(tmp_path.glob("wandb/offline-run-*"))) == 1
    assert len(media(tmp_path, "html")) == 1


def test_a_run_that_goes_on_on_another_machine_leaves_no_second_offline_run_behind(tmp_path: Path) -> None:
    """Of a run at a URL `loggers/` is published, file by file, and brought to the machine that goes on; what is gone there stays here."""
    published, there = tmp_path / "published", tmp_path / "there"
    log(tmp_path / "here", 0, range(9))
    shutil.copytree(tmp_path / "here" / "loggers", published)
    shutil.copytree(published, there / "loggers")
    log(there, 3, range(4, 6))
    shutil.copytree(there / "loggers", published, dirs_exist_ok=True)
    assert losses(there) == [(0, 0), (1, 1), (2, 2), (3, 3), (4, 304), (5, 305)]
    assert len({record.run.run_id for run in ("here", "there") for record in records(tmp_path / run) if record.HasField("run")}) == 1
    assert list(published.rglob("*.wandb")) == []


def test_a_copy_under_another_name_is_another_run(tmp_path: Path) -> None:
    log(tmp_path, 0, range(2))
    log(tmp_path, 0, range(2), name="other")
    assert len({record.run.run_id for record in records(tmp_path) if record.WhichOneof("record_type") == "run"}) == 2


@pytest.mark.parametrize("mode", ["disabled", "offline"])
def test_the_mode_of_the_environment_is_kept_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: str) -> None:
    monkeypatch.setenv("WANDB_MODE", mode)
    logger = WandbLogger(WandbOptions(), tmp_path, "run")
    logger.start(RECIPE, 0)
    logger.metrics(1, {"train/loss": 1.0})
    logger.close()
    assert len(list(tmp_path.glob("wandb/offline-run-*"))) == (mode == "offline")


def test_without_credentials_an_online_run_is_dropped_with_the_cure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.delenv("WANDB_MODE", raising=False)
    warnings: list[str] = []
    loggers = open_loggers({"wandb": {}}, tmp_path / "run", "run", warnings.append)
    loggers.start(RECIPE, 0)
    loggers.close()
    assert len(warnings) == 1
    assert "W&B has no credentials here. Set WANDB_API_KEY, or add logger.wandb.mode=offline." in warnings[0]


def test_a_key_in_a_recipe_is_no_option() -> None:
    with pytest.raises(PluginError, match=r"logger\.wandb\.api_key"):
        plugins.load("loggers", "wandb", {"api_key": "x"}, "logger")


RUN = [
    "model.init=random",
    "data.train=domain.jsonl",
    "train.max_length=64",
    "train.global_batch_size=8",
    "train.max_steps=30",
    "train.validate_every=10",
    "checkpoint.every=5",
    "eval.max_tokens=4",
    "logger=[csv,wandb]",
    "run.name=one",
]


@pytest.mark.long
@pytest.mark.timeout(240)
def test_a_killed_run_goes_on_in_csv_and_wandb(tmp_path: Path) -> None:
    (tmp_path / "domain.jsonl").write_text("".join(json.dumps({"text": f"Valve {n} opens at {n * 7 % 40} bar."}) + "\n" for n in range(60)))
    run, argv = tmp_path / "outputs" / "one", [sys.executable, "-m", "cpt", "train", *RUN]
    environment = {**os.environ, "WANDB_MODE": "offline", "XDG_CACHE_HOME": str(tmp_path / "cache")}
    with subprocess.Popen(argv, cwd=tmp_path, env=environment, stderr=subprocess.DEVNULL) as killed:
        deadline = time.monotonic() + 120
        while not (run / "checkpoints" / "step-00000010").exists():
            assert killed.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.02)
        killed.kill()
    again = subprocess.run(argv, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=200)
    assert again.returncode == 0, again.stderr
    assert "logger" not in again.stderr
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_bytes().splitlines()]
    assert [row["step"] for row in rows] == list(range(31))
    kept = {step: {name: value for name, value in row.items() if not isinstance(value, dict)} for step, row in history(run)}
    assert kept == {row.pop("step"): row for row in map(dict, rows)}
    with (run / "metrics.csv").open(newline="") as file:
        cells = [{name: float(cell) for name, cell in row.items() if cell} for row in csv.DictReader(file)]
    assert cells == rows
