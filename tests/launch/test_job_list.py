"""What `cpt jobs` shows of several jobs: each launcher is asked once, and one that does not answer hides nothing."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from cpt import jobs
from cpt.contracts import JobRef, JobState, JobStatus, LauncherOptions
from cpt.errors import ResourceError
from cpt.launch.local import LocalLauncher
from cpt.order import ORDER, Submitted
from cpt.rundir import RunDirectory

Asked = list[list[str]]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Asked:
    """What each question was about; a job `silent` is one that its launcher does not answer about."""
    questions: Asked = []

    class Counting(LocalLauncher):
        def statuses(self, asked: Sequence[JobRef]) -> list[JobStatus]:
            questions.append([job.id for job in asked])
            if "silent" in questions[-1]:
                raise ResourceError("squeue", "", "does not answer", "")
            return [JobStatus(JobState.RUNNING) for _ in asked]

    monkeypatch.setattr(jobs.plugins, "load", lambda *_: (Counting, LauncherOptions()))
    return questions


def submitted(folder: Path, name: str, job: str, launcher: str = "slurm") -> None:
    run = RunDirectory(str(folder), name)
    Submitted.now(launcher, {}, JobRef(job, name, str(run.job_folder))).write(run)
    jobs.remember(run)


@pytest.fixture(autouse=True)
def _own_list(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def test_a_launcher_is_asked_once_about_all_its_jobs_and_one_that_is_silent_hides_no_other(tmp_path: Path, asked: Asked) -> None:
    for number in range(3):
        submitted(tmp_path, f"r{number}", f"{number}")
    submitted(tmp_path, "other", "silent", launcher="kubernetes")
    views = {Path(view.run).name: view for view in jobs.listed()}
    assert sorted(map(len, asked)) == [1, 3]
    assert [views[f"r{number}"].state for number in range(3)] == [JobState.RUNNING] * 3
    assert (views["other"].state, "does not answer" in views["other"].reason) == (JobState.UNKNOWN, True)


def test_a_running_job_shows_the_steps_that_it_has_done(tmp_path: Path, asked: Asked) -> None:
    submitted(tmp_path, "r", "1")
    run = RunDirectory(str(tmp_path), "r")
    run.write_manifest({"status": "running", "steps": 10, "plan": {"steps": 99}})
    assert [view.steps for view in jobs.views(run.uri())] == [10]
    for step in range(1, 3000):
        run.metrics.append(step, {"train/loss": 1.0, "train/tokens": step * 64})
    with run.metrics.path.open("a") as file:
        file.write('{"step": 5000, "train/lo')
    assert [view.steps for view in jobs.views(run.uri())] == [2999]


def test_members_of_a_sweep_that_have_no_known_job_are_counted(tmp_path: Path, asked: Asked, capsys: pytest.CaptureFixture[str]) -> None:
    for number in range(2):
        submitted(tmp_path / "sweep", f"m{number}", f"{number}")
    assert len(jobs.views(str(tmp_path / "sweep"))) == 2
    assert asked == [["0", "1"]]
    assert capsys.readouterr().err == ""
    order = tmp_path / "sweep" / "m2" / ORDER
    order.parent.mkdir(parents=True)
    order.touch()
    assert len(jobs.views(str(tmp_path / "sweep"))) == 2
    assert "1 more were ordered and have no job that is known here" in capsys.readouterr().err
