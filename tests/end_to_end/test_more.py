"""Runs off the straight path: a full disk, other limits on the way, odd data and files."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from command import write_domain
from runs import QUICK, losses


def test_a_disk_without_room_for_the_checkpoint_is_one_line(tmp_path: Path) -> None:
    """Files may have 10 MB: the final model fits, the optimizer's state does not."""
    write_domain(tmp_path)
    limited = ("sh", "-c", 'ulimit -f 20000; exec "$@"', "sh", sys.executable, "-m", "cpt")
    words = ("train", *QUICK, "train.max_steps=2", "train.validate_every=null", "eval.max_tokens=0", "run.output=o", "run.name=r")
    done = subprocess.run([*limited, *words], cwd=tmp_path, capture_output=True, text=True, timeout=240)
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    assert "o/r: file too large" in done.stderr
    assert json.loads((tmp_path / "o/r/manifest.json").read_text())["status"] == "failed"
    assert [path.name for path in (tmp_path / "o/r/checkpoints").iterdir()] == []


@pytest.mark.long
def test_other_limits_on_the_way_are_said_or_refused(tmp_path: Path, cpt: Callable) -> None:
    words = ("train", *QUICK, "train.validate_every=null", "checkpoint.every=2", "run.output=o", "run.name=r")
    cpt(*words, "train.max_steps=4")
    longer = cpt(*words, "train.max_steps=6")
    assert "6 steps instead of 4: the learning rate's decay is planned anew" in longer.stderr
    manifest = tmp_path / "o/r/manifest.json"
    manifest.write_text(manifest.read_text().replace('"completed"', '"interrupted"'))
    assert "has 6 steps already" in cpt(*words, "train.max_steps=3", code=2).stderr
    assert "finished already" not in cpt(*words, "train.max_steps=6").stderr
    recipe = (tmp_path / "o/r/recipe.json").read_text()
    assert "another identity" in cpt(*words, "--dry-run", "optim.lr=1e-4", code=2).stderr
    assert (tmp_path / "o/r/recipe.json").read_text() == recipe


@pytest.mark.long
def test_a_step_that_predicts_nothing_changes_nothing_else(tmp_path: Path, cpt: Callable) -> None:
    texts = ["x" * 63 + end for end in "abc"] + [""]
    (tmp_path / "odd.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    sets = ("data.train=odd.jsonl", "data.validation=domain.jsonl", "train.global_batch_size=1", "train.max_steps=8", "eval.max_tokens=0")
    cpt("train", *QUICK, *sets, "run.output=o", "run.name=r")
    assert 0.0 in losses(tmp_path / "o/r")


def test_a_run_that_is_stopped_before_its_first_step_says_so(tmp_path: Path) -> None:
    write_domain(tmp_path)
    words = (sys.executable, "-m", "cpt", "train", *QUICK, "run.output=o", "run.name=r")
    with subprocess.Popen(words, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as process:
        deadline = time.monotonic() + 60
        while not (tmp_path / "o/r/job/job.json").exists():
            assert time.monotonic() < deadline
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        said = process.communicate(timeout=60)[1]
    assert process.returncode == 130
    assert "Go on with" in said
    assert "Traceback" not in said
    assert json.loads((tmp_path / "o/r/manifest.json").read_text())["status"] == "interrupted"


@pytest.mark.long
def test_a_run_that_begins_anew_keeps_no_sample_of_its_first_beginning(tmp_path: Path, cpt: Callable) -> None:
    words = ("train", *QUICK, "train.max_steps=1", "run.output=o", "run.name=r")
    cpt(*words)
    run = tmp_path / "o/r"
    shutil.rmtree(run / "checkpoints")
    (run / "manifest.json").write_text((run / "manifest.json").read_text().replace('"completed"', '"running"'))
    cpt(*words)
    assert [json.loads(line)["name"] for line in (run / "samples.jsonl").read_text().splitlines()] == ["before", "after"]
