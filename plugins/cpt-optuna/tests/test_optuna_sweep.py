"""A sweep of real runs whose command is killed, and typed again."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

WORDS = (
    "train", "-m", "model.init=random", "data.train=text.jsonl", "train.max_length=32", "train.global_batch_size=4", "train.max_steps=2",
    "train.validate_every=1", "eval.max_tokens=0", "logger=[]", "sched.min_lr=1e-8", "run.output=o", "run.name=s", "sweeper=optuna",
    "sweeper.options.trials=3", "sweeper.options.startup_trials=1", "sweeper.options.pruner=median", "sweeper.parallel=1",
    "optim.lr=tag(log, interval(1e-5, 1e-2))",
)  # fmt: skip


@pytest.mark.long
def test_a_killed_sweep_goes_on_with_the_members_that_were_drawn(tmp_path: Path) -> None:
    lines = (json.dumps({"text": f"Valve {number} opens at {number * 7 % 40} bar."}) + "\n" for number in range(40))
    (tmp_path / "text.jsonl").write_text("".join(lines))
    command = [sys.executable, "-m", "cpt", *WORDS]
    with (tmp_path / "said").open("w") as said:
        driver = subprocess.Popen(command, cwd=tmp_path, stdout=said, stderr=said)
    while not list((tmp_path / "o/s").glob("*/metrics.jsonl")):
        assert driver.poll() is None, (tmp_path / "said").read_text()
        time.sleep(0.1)
    driver.kill()
    driver.wait()
    drawn = (tmp_path / "o/s/trials.jsonl").read_text().splitlines()

    again = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=240, check=False)
    assert again.returncode == 0, again.stderr
    kept = (tmp_path / "o/s/trials.jsonl").read_text().splitlines()
    assert kept[: len(drawn)] == drawn
    assert len(kept) == 4
    states = [json.loads(file.read_bytes())["status"] for file in (tmp_path / "o/s").glob("*/manifest.json")]
    assert states == ["completed"] * 3
