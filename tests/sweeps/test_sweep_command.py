"""`cpt train -m` as it is typed: four real runs, a driver that is killed, the same command again."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import fsspec
import pytest
from command import run_cpt, write_domain
from runs import QUICK, losses

WORDS = (
    "train",
    "-m",
    *QUICK,
    "train.max_steps=2",
    "eval.max_tokens=0",
    "checkpoint.every=1",
    "logger=[]",
    "run.output=o",
    "run.name=s",
    "optim.lr=1e-4,1e-3",
    "run.seed=1,2",
)
LABELS = [f"optim.lr={rate},run.seed={seed}" for rate in ("0.0001", "0.001") for seed in (1, 2)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_domain(tmp_path)
    return tmp_path


def completed(folder: Path) -> dict[str, int]:
    """When the manifest of each member that is done was last written."""
    manifests = (folder / "o/s").glob("*/manifest.json")
    return {file.parent.name: file.stat().st_mtime_ns for file in manifests if json.loads(file.read_bytes())["status"] == "completed"}


def processes(folder: Path) -> list[int]:
    """Every process that has something in `folder` to do."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            words = (entry / "cmdline").read_bytes().decode().split("\0")
        except OSError:
            continue
        if any(word.startswith(str(folder)) for word in words):
            found.append(int(entry.name))
    return found


def test_a_sweep_whose_driver_was_killed_goes_on_and_ends_with_its_table(folder: Path) -> None:
    driver = subprocess.Popen([sys.executable, "-m", "cpt", *WORDS], cwd=folder, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    while not (done := completed(folder)):
        assert driver.poll() is None
        time.sleep(0.05)
    driver.kill()
    driver.wait()
    deadline = time.monotonic() + 10
    while processes(folder) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert processes(folder) == []

    result = run_cpt(folder, *WORDS)
    assert sorted(completed(folder)) == LABELS
    assert {label: completed(folder)[label] for label in done} == done
    assert all(len(losses(folder / "o/s" / label)) == 2 for label in LABELS)

    table = result.stdout.splitlines()
    assert table[0].split() == ["optim.lr", "validation/held_out/loss", "change", "steps", "seeds", "state"]
    assert [line.split()[0] for line in table[1:3]] == ["0.001", "0.0001"]
    rows = list(csv.DictReader((folder / "o/s/sweep.csv").read_text().splitlines()))
    assert sorted(row["member"] for row in rows) == LABELS
    assert float(rows[0]["validation/held_out/loss after"]) == min(float(row["validation/held_out/loss after"]) for row in rows)
    page = (folder / "o/s/sweep.html").read_text()
    assert all(label in page for label in LABELS)

    again = run_cpt(folder, *WORDS)
    assert again.stdout == result.stdout


@pytest.mark.long
def test_a_fault_of_one_member_is_told_the_rest_runs_and_the_code_is_its(folder: Path) -> None:
    (folder / "bad.jsonl").write_text('{"text": 3}\n')
    words = ("train", "-m", *QUICK, "train.max_steps=1", "eval.max_tokens=0", "logger=[]", "run.output=o", "run.name=s")
    result = run_cpt(folder, *words, "data.train=bad.jsonl,domain.jsonl", "train.validate_every=null", code=2)
    assert "error: data.train=bad.jsonl: bad.jsonl:1" in result.stderr
    assert "1 of 2 members failed; the same command runs them again" in result.stderr
    assert list(completed(folder)) == ["data.train=domain.jsonl"]
    assert "failed" in result.stdout
    again = run_cpt(folder, *words, "train.validate_every=null", "run.seed=1234", "model.hidden_dropout=0")
    assert "holds the table of a sweep over data.train: this one replaces it" in again.stderr


@pytest.mark.long
def test_a_second_driver_is_refused_and_a_ctrl_c_says_how_to_go_on(folder: Path) -> None:
    words = ("train", "-m", *QUICK, "run.output=o", "run.name=s", "run.seed=1,2", "train.max_steps=5000", "checkpoint.every=5000")
    driver = subprocess.Popen([sys.executable, "-m", "cpt", *words], cwd=folder, stderr=subprocess.PIPE, text=True)
    while len(list((folder / "o/s").glob("*/metrics.jsonl"))) < 1:
        assert driver.poll() is None
        time.sleep(0.1)
    assert "a run has one writer" in run_cpt(folder, *words, code=2).stderr
    os.kill(driver.pid, signal.SIGINT)
    _, said = driver.communicate(timeout=120)
    assert driver.returncode == 130
    assert "0 of 2 members done. Go on with: python -m cpt train -m" in said
    manifests = [json.loads(file.read_bytes()) for file in (folder / "o/s").glob("*/manifest.json")]
    assert {manifest["status"] for manifest in manifests} <= {"interrupted", "queued"}
    assert any(manifest["checkpoints"] for manifest in manifests)


def test_a_dry_run_writes_what_would_be_submitted_and_starts_nothing(folder: Path) -> None:
    result = run_cpt(folder, *WORDS, "--dry-run")
    assert "nothing was started" in result.stdout
    assert not list((folder / "o").rglob("metrics.jsonl"))
    assert run_cpt(folder, "train", "-m", "--cfg", "job", "optim.lr=1e-4,1e-3", code=2).stderr.startswith("error: --cfg")


def test_a_sweep_may_stand_at_a_url(folder: Path, s3: str) -> None:
    words = ("train", "-m", *QUICK, "train.max_steps=1", "eval.max_tokens=0", "logger=[]", f"run.output={s3}/o", "run.name=s")
    random = ("sweeper=random", "sweeper.options.trials=1", "optim.lr=tag(log,interval(1e-4,1e-3))", "train.validate_every=null")
    run_cpt(folder, *words, *random)
    files = fsspec.filesystem("s3", skip_instance_cache=True)
    bucket = s3.removeprefix("s3://")
    rows = list(csv.DictReader(files.cat_file(f"{bucket}/o/s/sweep.csv").decode().splitlines()))
    assert [row["state"] for row in rows] == ["completed"]
    assert all(row["location"] == f"{s3}/o/s/{row['member']}" for row in rows)
    assert len(files.cat_file(f"{bucket}/o/s/trials.jsonl").splitlines()) == 2
    before = files.info(f"{bucket}/o/s/{rows[0]['member']}/manifest.json")["ETag"]
    run_cpt(folder, *words, *random)
    assert files.info(f"{bucket}/o/s/{rows[0]['member']}/manifest.json", refresh=True)["ETag"] == before
