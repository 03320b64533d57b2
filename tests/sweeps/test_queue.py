"""Through a launcher that queues: members that need the same are one array, on real processes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from command import write_domain
from runs import QUICK

from cpt.contracts import LauncherOptions
from cpt.launch.local import LocalLauncher
from cpt.resources import Chosen
from cpt.sweeps.driver import Driver
from cpt.sweeps.runner import QueueRunner


@pytest.fixture
def words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[str, ...]:
    monkeypatch.chdir(tmp_path)
    write_domain(tmp_path)
    return (*QUICK, "train.max_steps=1", "eval.max_tokens=0", "logger=[]", "train.validate_every=null")


def runner(sweep, parallel: int | None = None) -> QueueRunner:
    """Arrays of the local launcher, which queues what exceeds `parallel` as a scheduler does."""
    recipes = [member.composed.recipe for member in sweep.members]
    return QueueRunner(Chosen("local", LocalLauncher(LauncherOptions())), Path(sweep.location).absolute() / "jobs", recipes, parallel)


def test_a_grid_is_one_array_whose_jobs_its_runs_record(opened, seen, words, tmp_path: Path) -> None:
    sweep = opened(*words, "optim.lr=1e-3,1e-4")
    Driver(sweep, runner(sweep, parallel=2), seen, None).run()
    assert [member.state.value for member in sweep.members] == ["completed", "completed"]
    (array,) = (tmp_path / "s/jobs").iterdir()
    assert json.loads((array / "members.json").read_text()) == [member.run.uri() for member in sweep.members]
    jobs = [(member.run.manifest() or {})["job"] for member in sweep.members]
    assert [job["folder"] for job in jobs] == [str(array)] * 2
    assert [job["id"].rpartition("/")[2] for job in jobs] == ["0", "1"]
    again = opened(*words, "optim.lr=1e-3,1e-4")
    assert [member.state.value for member in again.members] == ["completed", "completed"]


def test_members_of_two_shapes_are_two_submissions_in_a_rehearsal(opened, words, tmp_path: Path) -> None:
    sweep = opened(*words, "cluster.processes=1,2", "optim.lr=1e-3,1e-4")
    written = runner(sweep).rehearse(sweep.members)
    assert len(written) == 2
    assert all((Path(folder) / "command.sh").exists() for folder in written)
    assert [len(json.loads((Path(folder) / "members.json").read_text())) for folder in written] == [2, 2]
    assert not list((tmp_path / "s").rglob("manifest.json"))


def test_a_job_that_still_has_a_member_is_found_again(opened, words) -> None:
    sweep = opened(*words, "train.max_steps=3000", "checkpoint.every=3000", "optim.lr=1e-3,1e-4")
    queue = runner(sweep, parallel=1)
    started = queue.start(sweep.members)
    assert [runner(sweep).adopt(member) for member in sweep.members] == started
    for job in started:
        queue.stop(job)  # type: ignore[arg-type]
