"""A run given to a launcher: submitted, watched, cancelled, gone on with, from the command line alone."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pretend_cluster
import pytest
from runs import QUICK, losses

ELSEWHERE = (*QUICK, "run.output=o", "launcher=auto", "launcher.name=pretend", "cluster.nodes=2", "cluster.processes=1")
LONG = (*ELSEWHERE, "run.name=long", "train.max_steps=2000")


@pytest.fixture(autouse=True)
def _pretend(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in pretend_cluster.install(tmp_path / "site").items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


def status(cpt: Callable, job: str) -> dict[str, Any]:
    return dict(json.loads(cpt("jobs", "status", job, "--json").stdout))


def until(claim: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 120
    while not claim():
        assert time.monotonic() < deadline
        time.sleep(0.3)


def test_a_run_is_submitted_and_followed_to_its_end(cpt: Callable, tmp_path: Path) -> None:
    submitted = cpt("train", *ELSEWHERE, "run.name=two").stdout
    assert submitted.startswith("submitted  pretend ")
    assert "cpt jobs wait" in submitted
    done = cpt("jobs", "wait", "o/two").stdout
    assert "completed" in done
    assert "done  6 steps" in done
    (listed,) = json.loads(cpt("jobs", "list", "--json").stdout)
    assert (listed["launcher"], listed["state"], listed["steps"], listed["total_steps"]) == ("pretend", "completed", 6, 6)
    assert listed["id"] in cpt("jobs", "list").stdout
    manifest = json.loads((tmp_path / "o" / "two" / "manifest.json").read_text())
    assert (manifest["status"], manifest["job"]["id"]) == ("completed", listed["id"])
    assert "step" in cpt("jobs", "logs", listed["id"]).stdout
    assert "finished already" in cpt("train", *ELSEWHERE, "run.name=two").stderr
    cpt("train", *QUICK, "run.output=o", "run.name=one")
    assert losses(tmp_path / "o" / "two") == pytest.approx(losses(tmp_path / "o" / "one"), abs=1e-4)


def test_a_job_is_cancelled_and_gone_on_with(cpt: Callable, tmp_path: Path) -> None:
    cpt("train", *LONG)
    until(lambda: status(cpt, "o/long")["state"] == "running" and (tmp_path / "o" / "long" / "metrics.jsonl").exists())
    until(lambda: status(cpt, "o/long")["steps"] > 0)  # done, and not yet committed
    assert "submitted already" in cpt("train", *LONG).stderr
    looking = subprocess.Popen([sys.executable, "-m", "cpt", "jobs", "wait", "o/long"], cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    time.sleep(3)
    looking.send_signal(signal.SIGINT)
    assert "stopped: looking at the job, which goes on" in looking.communicate()[1]
    assert looking.returncode == 130
    cpt("jobs", "cancel", "o/long")
    wait = cpt("jobs", "wait", "o/long", code=75)
    assert "cancelled" in wait.stdout
    done = status(cpt, "o/long")["steps"]
    assert 0 < done < 2000
    ends = (*LONG, f"train.max_steps={done + 2}")
    cpt("train", *ends)
    assert f"done  {done + 2} steps" in cpt("jobs", "wait", "o/long").stdout


@pytest.mark.long
def test_a_job_knows_its_data_by_what_was_validated_and_needs_the_file_no_more(cpt: Callable, tmp_path: Path) -> None:
    cpt("train", *ELSEWHERE, "run.name=gone")
    (tmp_path / "domain.jsonl").unlink()
    cpt("jobs", "wait", "o/gone")
    assert "domain.jsonl" in cpt("train", *ELSEWHERE, "run.name=gone", "train.max_steps=12", code=2).stderr


@pytest.mark.long
def test_a_job_says_in_its_logs_what_it_found_damaged(cpt: Callable, tmp_path: Path) -> None:
    cpt("train", *ELSEWHERE, "run.name=broken")
    cpt("jobs", "wait", "o/broken")
    step = next((tmp_path / "o" / "broken" / "checkpoints").rglob("*.safetensors"))
    step.write_bytes(b"damaged")
    cpt("train", *ELSEWHERE, "run.name=broken", "train.max_steps=12")
    assert "completed" in cpt("jobs", "wait", "o/broken").stdout
    assert "step-00000006" in cpt("jobs", "logs", "o/broken").stdout


def test_a_dry_run_writes_what_would_be_submitted_and_starts_nothing(cpt: Callable, tmp_path: Path) -> None:
    out = cpt("train", *ELSEWHERE, "run.name=dry", "launcher.options.render_to=there", "--dry-run").stdout
    assert "there; nothing was started" in out
    assert "cpt.node" in (tmp_path / "there" / "command.sh").read_text()
    assert json.loads((tmp_path / "there/by-hand/dry/job/order.json").read_text())["run_name"] == "dry"
    assert not (tmp_path / "o" / "dry").exists()
    assert "neither the folder of a run or sweep nor the id" in cpt("jobs", "status", "nothing", code=2).stderr
    assert cpt("jobs", "list").stdout == "no jobs\n"


def test_auto_takes_what_the_machine_offers(cpt: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent))  # a machine with Slurm would offer that
    overrides = tuple(word for word in ELSEWHERE if word != "launcher.name=pretend")
    assert cpt("train", *overrides, "run.name=auto").stdout.startswith("submitted  pretend ")
    cpt("jobs", "cancel", "o/auto")
    cpt("train", *QUICK, "run.output=o", "run.name=here")


@pytest.mark.long
def test_prepare_shares_the_work_out(cpt: Callable, tmp_path: Path) -> None:
    lines = (json.dumps({"text": f"{number} " + "word " * 2000}) + "\n" for number in range(14_000))
    (tmp_path / "large.jsonl").write_text("".join(lines))
    data = ("model.init=random", "data.train=large.jsonl", "tokenizer=bytes")
    here = json.loads(cpt("prepare", *data, f"data.store={tmp_path}/here", "--json").stdout)
    pretend = ("launcher.name=pretend", "cluster.nodes=2", "cluster.processes=1")
    result = cpt("prepare", *data, *pretend, f"data.store={tmp_path}/there", "--json")
    assert "shards in 2 tasks: pretend" in result.stderr
    there = json.loads(result.stdout)
    assert Path(there["store"], "tokens.bin").read_bytes() == Path(here["store"], "tokens.bin").read_bytes()
    assert not list((tmp_path / "there").glob("*.parts"))


def test_a_dry_run_leaves_a_queued_job_alone(cpt: Callable, tmp_path: Path) -> None:
    cpt("train", *LONG)
    order = (tmp_path / "o" / "long" / "job" / "order.json").read_bytes()
    cpt("train", *LONG, "train.max_steps=5", "--dry-run")
    assert (tmp_path / "o" / "long" / "job" / "order.json").read_bytes() == order
    cpt("jobs", "cancel", "o/long")


@pytest.mark.long
def test_a_submission_that_was_cut_off_is_not_made_twice(cpt: Callable, tmp_path: Path) -> None:
    cpt("train", *ELSEWHERE, "run.name=cut")
    cpt("jobs", "wait", "o/cut")
    note = tmp_path / "o" / "cut" / "job" / "submitted.json"
    note.write_text(json.dumps(json.loads(note.read_text()) | {"id": ""}))
    refused = cpt("train", *ELSEWHERE, "run.name=cut", "train.max_steps=9", code=2).stderr
    assert "was cut off at" in refused
    assert "delete this file" in refused
    note.unlink()
    assert cpt("train", *ELSEWHERE, "run.name=cut", "train.max_steps=9").stdout.startswith("submitted")
    cpt("jobs", "cancel", "o/cut")


@pytest.mark.long
def test_a_refused_submission_leaves_the_run_as_it_was(cpt: Callable, tmp_path: Path) -> None:
    cpt("train", *QUICK, "run.output=o", "run.name=r")
    before = (tmp_path / "o" / "r" / "manifest.json").read_bytes()
    slurm = ("launcher.name=pretend", "launcher.options.fails=true", "cluster.nodes=2", "cluster.processes=1", "train.max_steps=9")
    assert "the queue is closed" in cpt("train", *QUICK, "run.output=o", "run.name=r", *slurm, code=2).stderr
    assert (tmp_path / "o" / "r" / "manifest.json").read_bytes() == before


def test_a_run_in_the_foreground_is_a_job_too(cpt: Callable, tmp_path: Path) -> None:
    words = (*QUICK, "run.output=o", "run.name=here", "train.max_steps=2000")
    process = subprocess.Popen([sys.executable, "-m", "cpt", "train", *words], cwd=tmp_path, stderr=subprocess.DEVNULL)
    until(lambda: (tmp_path / "o" / "here" / "metrics.jsonl").exists() and status(cpt, "o/here")["state"] == "running")
    cpt("jobs", "cancel", "o/here")
    assert process.wait(60) == 75
    assert "preempted" in cpt("jobs", "wait", "o/here", code=75).stdout


@pytest.mark.long
def test_what_the_environment_gave_is_kept_nowhere(cpt: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CPT_WORD", "canary-4711")
    cpt("train", *ELSEWHERE, "run.name=secret", "launcher.options.word=${oc.env:CPT_WORD}")
    assert "completed" in cpt("jobs", "wait", "o/secret").stdout
    holders = [file for file in (tmp_path / "o").rglob("*") if file.is_file() and b"canary-4711" in file.read_bytes()]
    assert [(file.name, oct(file.stat().st_mode)[-3:]) for file in holders] == [("order.json", "600")]


@pytest.mark.long
def test_one_launcher_that_does_not_answer_hides_no_other_job(cpt: Callable, tmp_path: Path) -> None:
    cpt("train", *LONG)
    cpt("train", *QUICK, "run.output=o", "run.name=two")
    entry_points = tmp_path / "site" / "pretend_cluster-1.0.dist-info" / "entry_points.txt"
    there = entry_points.read_text()
    entry_points.write_text("")
    listed = {row["run"].rpartition("/")[2]: row for row in json.loads(cpt("jobs", "list", "--json").stdout)}
    entry_points.write_text(there)
    cpt("jobs", "cancel", "o/long")
    assert listed["two"]["state"] == "completed"
    assert "no installed package" in listed["long"]["reason"]


@pytest.mark.long
def test_the_jobs_of_a_sweep_are_named_by_its_folder(cpt: Callable, tmp_path: Path) -> None:
    sweep = ("-m", *ELSEWHERE, "run.name=s", "run.seed=1,2")
    cpt("train", *sweep)
    assert [row["state"] for row in json.loads(cpt("jobs", "status", "o/s", "--json").stdout)] == ["completed"] * 2
    assert cpt("jobs", "wait", "o/s").stdout.count("done  6 steps") == 2
    assert cpt("jobs", "cancel", "o/s").stdout.count("completed") == 2


@pytest.mark.long
def test_a_dry_run_is_no_beginning(cpt: Callable) -> None:
    words = (*QUICK, "run.output=o", "run.name=r", "train.max_steps=2")
    cpt("train", *words, "--dry-run", "launcher.options.render_to=there")
    assert "done  2 steps" in cpt("train", *words, "checkpoint.every=7").stdout


def test_several_nodes_need_a_file_system_that_they_share(cpt: Callable) -> None:
    refused = cpt("train", *ELSEWHERE, "run.output=s3://nowhere/runs", code=2).stderr
    assert "a run of 2 nodes needs a file system that they share" in refused
