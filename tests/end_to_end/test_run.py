"""A run from the command line: what it leaves, and what the same command does again."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from runs import QUICK, losses, rows

LONG = (
    "model.init=random",
    "data.train=domain.jsonl",
    "train.max_length=64",
    "train.global_batch_size=8",
    "train.max_steps=400",
    "train.validate_every=null",
    "checkpoint.every=20",
    "eval.max_tokens=0",
    "run.output=o",
    "run.name=r",
)


def test_a_run_leaves_what_the_interface_names(cpt: Callable, tmp_path: Path) -> None:
    done = cpt("train", *QUICK, "data=sample", "data.train=[python_source/held_out]", "run.output=o", "run.name=r")
    run = tmp_path / "o" / "r"
    manifest = json.loads((run / "manifest.json").read_text())
    assert (manifest["status"], manifest["steps"], manifest["final"]) == ("completed", 6, "final")
    assert manifest["checkpoint_s3_bucket"] == str(run / "final")
    assert set(manifest["summary"]) == {"domain", "general"}
    assert "o/r" in done.stdout
    assert "domain" in done.stdout
    assert [line.split()[0] for line in done.stdout.splitlines()] == ["done", "domain", "general", "before", "after", "go"]
    for name in (
        "recipe.yaml",
        "recipe.json",
        "samples.jsonl",
        "final/model.safetensors",
        "final/generation_config.json",
        "final/tokenizer_config.json",
    ):
        assert (run / name).exists(), name
    assert len(list((run / "tensorboard").iterdir())) == 1
    table = rows(run)
    assert [row["step"] for row in table] == [0, 1, 2, 3, 4, 5, 6]
    assert [row["step"] for row in table if "validation/domain/loss" in row] == [0, 3, 6]
    assert table[-1]["train/tokens"] == manifest["tokens"]
    assert manifest["summary"]["domain"]["before"] == table[0]["validation/domain/loss"]
    assert [json.loads(line)["name"] for line in (run / "samples.jsonl").read_text().splitlines()] == ["before", "after"]


@pytest.mark.long
def test_a_finished_run_says_so_and_a_larger_limit_goes_on(cpt: Callable, tmp_path: Path) -> None:
    words = ("train", *QUICK, "run.output=o")
    cpt(*words)
    (run,) = (tmp_path / "o").iterdir()
    before = losses(run)
    again = cpt(*words)
    assert "finished already" in again.stderr
    assert str(run.name) in again.stdout
    cpt(*words, "train.max_steps=9")
    assert [path.name for path in (tmp_path / "o").iterdir()] == [run.name]
    assert losses(run)[:6] == before
    assert len(losses(run)) == 9


@pytest.mark.long
def test_a_name_given_by_hand_belongs_to_one_identity(cpt: Callable) -> None:
    cpt("train", *QUICK, "run.output=o", "run.name=r", "train.max_steps=2")
    refused = cpt("train", *QUICK, "run.output=o", "run.name=r", "optim.lr=1e-3", code=2)
    assert "optim.lr" in refused.stderr
    assert "run.name: r" in refused.stderr


@pytest.mark.long
def test_documents_are_held_out_where_no_validation_is_named(cpt: Callable, tmp_path: Path) -> None:
    cpt("train", *QUICK, "run.output=o", "run.name=r", "tokenizer=bytes")
    assert set(json.loads((tmp_path / "o/r/manifest.json").read_text())["summary"]) == {"held_out"}


def test_invalid_data_is_refused_before_anything_is_written(cpt: Callable, tmp_path: Path) -> None:
    (tmp_path / "bad.jsonl").write_text('{"text": "a"}\n{"text": 2}\n{"messages": []}\n')
    refused = cpt("train", *QUICK, "data.train=bad.jsonl", "run.output=o", code=2)
    assert "bad.jsonl:2" in refused.stderr
    assert "bad.jsonl:3" in refused.stderr
    assert not (tmp_path / "o").exists()


@pytest.mark.parametrize(
    ("number", "code"),
    [(signal.SIGINT, 130), *[pytest.param(stop, 75, marks=pytest.mark.long) for stop in (signal.SIGTERM, signal.SIGUSR1)]],
)
def test_a_signal_commits_and_the_same_command_goes_on(tmp_path: Path, cpt: Callable, number: int, code: int) -> None:
    run = tmp_path / "o" / "r"
    with subprocess.Popen([sys.executable, "-m", "cpt", "train", *LONG], cwd=tmp_path, stderr=subprocess.PIPE, text=True) as process:
        _wait_for_step(run, 5)
        process.send_signal(number)
        said = process.communicate(timeout=60)[1]
    assert process.returncode == code
    assert "Go on with: python -m cpt train" in said
    manifest = json.loads((run / "manifest.json").read_text())
    assert manifest["status"] == "interrupted"
    assert manifest["checkpoints"][-1]["step"] == manifest["steps"] == len(losses(run))
    cpt("train", *LONG, f"train.max_steps={manifest['steps'] + 2}")
    assert [row["step"] for row in rows(run)] == list(range(manifest["steps"] + 3))


def test_a_killed_run_goes_on_bitwise(tmp_path: Path, cpt: Callable) -> None:
    whole = ("train", *LONG, "train.max_steps=30", "checkpoint.every=8", "model.hidden_dropout=0.1")
    cpt(*whole, "run.name=whole")
    process = subprocess.Popen([sys.executable, "-m", "cpt", *whole], cwd=tmp_path, stderr=subprocess.DEVNULL)
    run = tmp_path / "o" / "r"
    _wait_for_step(run, 11)
    process.kill()
    process.wait()
    _wait_until_alone(run)
    resumed = cpt(*whole)
    assert "going on from step-" in resumed.stderr
    assert [loss.hex() for loss in losses(run)] == [loss.hex() for loss in losses(tmp_path / "o" / "whole")]
    weights = [path / "final/model.safetensors" for path in (run, tmp_path / "o" / "whole")]
    assert weights[0].read_bytes() == weights[1].read_bytes()


def test_checkpoints_hold_safetensors_and_json_only(cpt: Callable, tmp_path: Path) -> None:
    cpt("train", *QUICK, "run.output=o", "run.name=r", "checkpoint.every=2", "checkpoint.keep=1")
    folders = sorted(path.name for path in (tmp_path / "o/r/checkpoints").iterdir())
    assert folders[-1] == "step-00000006"
    assert len(folders) <= 2
    files = [path for path in (tmp_path / "o/r/checkpoints").rglob("*") if path.is_file()]
    assert {path.suffix for path in files} == {".safetensors", ".json"}


def test_a_damaged_checkpoint_is_passed_over(cpt: Callable, tmp_path: Path) -> None:
    words = ("train", *QUICK, "run.output=o", "run.name=r", "checkpoint.every=2")
    cpt(*words)
    newest = tmp_path / "o/r/checkpoints/step-00000006/model"
    (file,) = newest.iterdir()
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    again = cpt(*words, "train.max_steps=8")
    assert "step-00000006" in again.stderr
    assert "going on from step-00000004" in again.stderr


def test_a_second_writer_is_refused(tmp_path: Path, cpt: Callable) -> None:
    process = subprocess.Popen([sys.executable, "-m", "cpt", "train", *LONG], cwd=tmp_path, stderr=subprocess.DEVNULL)
    try:
        _wait_for_step(tmp_path / "o" / "r", 1)
        refused = cpt("train", *LONG, code=2)
        assert str(process.pid) in refused.stderr
    finally:
        process.terminate()
        process.wait()


def test_three_bad_numbers_are_named_at_once(cpt: Callable) -> None:
    refused = cpt("train", "optim.lr=3", "train.max_length=-1", "train.max_stepz=4", code=2)
    assert [word for word in ("optim.lr", "train.max_length", "train.max_steps") if word not in refused.stderr] == []


def _wait_for_step(run: Path, step: int) -> None:
    deadline = time.monotonic() + 90
    while not ((run / "metrics.jsonl").exists() and len(losses(run)) >= step):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def _command_lines() -> Iterator[bytes]:
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):  # it may have ended meanwhile
            yield process.read_bytes()


def _wait_until_alone(run: Path) -> None:
    """A killed command takes its workers with it."""
    deadline = time.monotonic() + 10
    while any(b"cpt.worker" in line and str(run).encode() in line for line in _command_lines()):
        assert time.monotonic() < deadline, "a worker outlived its command"
        time.sleep(0.1)
