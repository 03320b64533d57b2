"""Runs of cpt on a real Slurm of two nodes: submitted, watched, killed, requeued, cancelled, swept, from the command line alone."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from cpt.contracts import JobRef, JobState
from cpt_slurm import SlurmLauncher

RUN = (
    "model.init=random",
    "data.train=domain.jsonl",
    "train.max_length=64",
    "train.global_batch_size=8",
    "train.max_steps=20",
    "train.validate_every=10",
    "eval.max_tokens=4",
    "checkpoint.every=4",
    "model.hidden_dropout=0.1",
    "run.output=runs",
    "cluster=local",
)
TWO_NODES = (*RUN, "launcher=slurm", "cluster.nodes=2", "cluster.processes=1")

ANY = SlurmLauncher(SlurmLauncher.Options())


class Desk:
    """A folder to work from, and its runs."""

    def __init__(self, folder: Path, cluster: Any) -> None:
        self.folder, self.cluster = folder, cluster
        lines = (f"Valve {n} of the press opens at {n * 7 % 40} bar and closes at {n * 3 % 20} bar; check seal {n % 9}." for n in range(60))
        self.env = dict(os.environ) | {"OMP_NUM_THREADS": "1", "CPT_STORE": str(folder / "store"), "XDG_CACHE_HOME": str(folder / "cache")}
        (folder / "domain.jsonl").write_text("".join(json.dumps({"text": line}) + "\n" for line in lines))

    def cpt(self, *words: str, code: int = 0) -> str:
        """What the command printed."""
        argv = [sys.executable, "-m", "cpt", *words]
        done = subprocess.run(argv, cwd=self.folder, env=self.env, capture_output=True, text=True, timeout=300)
        assert done.returncode == code, f"{words}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def job(self, run: str) -> JobRef:
        job = self.manifest(run)["job"]
        return JobRef(job["id"], job["name"], job["folder"])

    def manifest(self, run: str) -> Any:
        return json.loads((self.folder / "runs" / run / "manifest.json").read_text())

    def wait_for(self, run: str, state: JobState) -> None:
        """Waits for the end of the run's job, and that it is as said."""
        job = self.job(run)
        self.cluster.wait_until(lambda: ANY.status(job).state.ended, 240)
        assert ANY.status(job).state is state, list(ANY.logs(job))

    def rows(self, run: str) -> list[dict[str, Any]]:
        """The run's metrics but for its speed."""
        file = self.folder / "runs" / run / "metrics.jsonl"
        rows = [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
        return [{key: value for key, value in row.items() if "per_second" not in key} for row in rows]

    def wait_for_step(self, run: str, step: int) -> None:
        self.cluster.wait_until(lambda: max((row["step"] for row in self.rows(run)), default=0) >= step, 240)

    def by_hand(self, written: str) -> JobRef:
        """What `submit.sh` of a dry run of the run `by-hand` submits."""
        done = subprocess.run(["bash", f"{written}/submit.sh"], cwd=self.folder, env=self.env, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        return JobRef(done.stdout.strip(), "by-hand", str(self.folder / "runs" / "by-hand" / "job"))

    def final(self, run: str) -> dict[str, bytes]:
        """The files of the run's `final/`."""
        return {file.name: file.read_bytes() for file in (self.folder / "runs" / run / "final").iterdir()}


@pytest.fixture(scope="module")
def desk(cluster: Any, tmp_path_factory: pytest.TempPathFactory) -> Desk:
    return Desk(tmp_path_factory.mktemp("desk"), cluster)


@pytest.fixture(scope="module")
def undisturbed(desk: Desk) -> str:
    """A run that nothing happened to."""
    assert desk.cpt("train", *TWO_NODES, "run.name=undisturbed").startswith("submitted  slurm ")
    assert "completed" in desk.cpt("jobs", "wait", "runs/undisturbed")
    return "undisturbed"


def test_two_nodes_compute_what_two_processes_do(desk: Desk, undisturbed: str) -> None:
    desk.cpt("train", *RUN, "cluster.processes=2", "run.name=here")
    losses = {run: [row["train/loss"] for row in desk.rows(run) if "train/loss" in row] for run in (undisturbed, "here")}
    assert len(losses["here"]) == 20
    assert losses[undisturbed] == pytest.approx(losses["here"], abs=1e-4)


def test_every_node_and_rank_has_its_log(desk: Desk, undisturbed: str) -> None:
    logs = desk.cpt("jobs", "logs", f"runs/{undisturbed}").splitlines()
    assert any(line.startswith("rank 0: step") for line in logs)
    folder = desk.folder / "runs" / undisturbed / "job" / "logs" / desk.job(undisturbed).id
    assert {file.name for file in folder.iterdir()} == {"node-0.log", "node-1.log", "rank-0.log", "rank-1.log"}


def test_a_job_killed_and_requeued_cancelled_and_gone_on_with_ends_bitwise_the_same(desk: Desk, undisturbed: str) -> None:
    desk.cpt("train", *TWO_NODES, "run.name=disturbed")
    desk.wait_for_step("disturbed", 6)
    job = desk.job("disturbed")
    for pid in processes_of(job.id):
        os.kill(pid, signal.SIGKILL)
    desk.wait_for("disturbed", JobState.FAILED)
    subprocess.run(["scontrol", "requeue", job.id], check=True)
    desk.wait_for_step("disturbed", 10)

    desk.cpt("jobs", "cancel", "runs/disturbed")
    desk.wait_for("disturbed", JobState.CANCELLED)
    manifest = desk.manifest("disturbed")
    assert manifest["status"] == "interrupted"
    assert manifest["checkpoints"][-1]["step"] == manifest["steps"] >= 10

    desk.cpt("train", *TWO_NODES, "run.name=disturbed")
    desk.wait_for("disturbed", JobState.COMPLETED)
    assert desk.job("disturbed").id != job.id
    assert desk.rows("disturbed") == desk.rows(undisturbed)
    assert desk.final("disturbed") == desk.final(undisturbed)


def test_a_sweep_is_an_array(desk: Desk) -> None:
    words = ("train.max_steps=2", "run.name=sweep", "launcher=slurm", "cluster.processes=1", "optim.lr=1e-4,3e-4")
    assert "optim.lr" in desk.cpt("train", "-m", *RUN, *words)
    members = [json.loads(file.read_text()) for file in (desk.folder / "runs" / "sweep").glob("*/manifest.json")]
    assert [member["status"] for member in members] == ["completed", "completed"]
    ids = sorted(member["job"]["id"] for member in members)
    array = ids[0].partition("_")[0]
    assert ids == [f"{array}_0", f"{array}_1"]


def test_the_files_of_a_dry_run_submit_the_run_by_hand(desk: Desk) -> None:
    words = (*RUN, "launcher=slurm", "cluster.processes=1", "train.max_steps=2", "run.name=by-hand")
    desk.cpt("train", *words, "--dry-run", "launcher.options.render_to=written")
    refused, accepted = desk.by_hand("written"), None
    desk.cluster.wait_until(lambda: ANY.status(refused).state.ended)
    assert (ANY.status(refused).exit_code, "cp -r DIR/by-hand/. OUTPUT" in " ".join(line for _, line in ANY.logs(refused))) == (2, True)

    shutil.copytree(desk.folder / "written" / "by-hand", desk.folder / "runs", dirs_exist_ok=True)
    begin = time.monotonic()
    accepted = desk.by_hand("written")
    desk.cluster.wait_until(lambda: ANY.status(accepted).state.ended)
    assert time.monotonic() - begin < 50  # it waits for nobody to note it
    assert (desk.job("by-hand").id, desk.manifest("by-hand")["job"]["launcher"]) == (accepted.id, "slurm")
    assert "completed" in desk.cpt("jobs", "status", "runs/by-hand")

    again = desk.by_hand("runs/by-hand/job" if (desk.folder / "runs/by-hand/job/submit.sh").exists() else "written")
    desk.cluster.wait_until(lambda: ANY.status(again).state.ended)
    assert ANY.status(again).state is JobState.COMPLETED


@pytest.mark.long
def test_the_files_of_a_dry_run_submit_a_sweep_by_hand(desk: Desk) -> None:
    words = (*RUN, "launcher=slurm", "cluster.processes=1", "train.max_steps=2", "run.name=array", "optim.lr=1e-4,3e-4")
    desk.cpt("train", "-m", *words, "--dry-run", "launcher.options.render_to=array")
    shutil.copytree(desk.folder / "array" / "by-hand", desk.folder / "runs", dirs_exist_ok=True)
    array = desk.by_hand("array")
    members = [JobRef(f"{array.id}_{number}", array.name, array.folder) for number in (0, 1)]
    desk.cluster.wait_until(lambda: all(ANY.status(member).state.ended for member in members))
    assert desk.cpt("jobs", "wait", "runs/array").count("done  2 steps") == 2
    runs = (desk.folder / "runs" / "array").glob("*/manifest.json")
    assert sorted(json.loads(run.read_text())["job"]["id"] for run in runs) == [member.id for member in members]


def processes_of(job: str) -> list[int]:
    """The processes of the job's step: agents and ranks on all nodes, not Slurm's own."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            variables = (folder / "environ").read_bytes().split(b"\0")
        except OSError:
            continue
        if f"SLURM_JOB_ID={job}".encode() in variables and b"SLURM_STEP_ID=0" in variables:
            found.append(int(folder.name))
    assert found
    return found
