"""What a launcher promises."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import ClassVar

import pytest
from pydantic import BaseModel, ValidationError

from cpt.contracts import JobRef, JobState, JobStatus, Launcher, LauncherOptions, Task
from cpt.errors import UserError
from cpt.testing.hostile import HOSTILE, documents_that_break, scripts_that_break
from cpt.testing.plugin import PluginContract, where

SAYS = (
    'import json, os, sys; names = "SAID NODE_RANK MASTER_ADDR MASTER_PORT CPT_MEMBER".split(); '
    "print(json.dumps([sys.argv[1:], {name: os.environ.get(name) for name in names}]), flush=True)"
)
WAITS = "import time; print('waiting', flush=True); time.sleep(600)"
POLL_S = 0.2


class LauncherContract(PluginContract):
    """Give `plugin`; `task` where the suite's does not fit, and `submits` where this machine really takes jobs."""

    contract = Launcher
    submits: ClassVar[bool] = False
    """Whether jobs can be submitted here: then real ones are, watched and cancelled."""
    nodes: ClassVar[int] = 1
    """Nodes that a job may have here."""
    patience_s: ClassVar[float] = 60.0
    """Seconds in which a job that does nothing must have started, or ended."""

    @pytest.fixture
    def task(self, tmp_path: Path) -> Task:
        """A task that the launcher takes."""
        return Task("contract", (sys.executable, "-c", SAYS), nodes=1, processes=1, folder=tmp_path / "job")

    @pytest.fixture
    def unknown(self, task: Task) -> JobRef:
        """A job that the launcher has never seen, or forgotten."""
        return JobRef("999999999", task.name, str(task.folder))

    @pytest.fixture
    def ended(self, task: Task, unknown: JobRef) -> JobRef:
        """A job that has ended; where none can be submitted, one that is unknown."""
        if not self.submits:
            return unknown
        job = self._submitted(replace(task, argv=(sys.executable, "-c", "pass")))
        self._awaited(job)
        return job

    @pytest.fixture(autouse=True)
    def _leave_no_job(self) -> Iterator[None]:
        self._jobs: list[JobRef] = []
        yield
        for job in self._jobs:
            self.make().cancel(job)

    def make(self, **options: object) -> Launcher:
        """A new instance, as another process would make it."""
        return self.plugin(self.make_options(**options))  # type: ignore[no-any-return]

    def test_its_options_begin_as_every_launchers(self) -> None:
        assert issubclass(self.plugin.Options, LauncherOptions)

    def test_whether_it_is_offered_here_is_found_in_no_time(self) -> None:
        """`launcher=auto` asks every launcher that is installed."""
        durations_s = []
        for _ in range(3):
            start = time.perf_counter()
            assert type(self.plugin.is_offered_here()) is bool
            durations_s.append(time.perf_counter() - start)
        assert min(durations_s) < 0.1

    def test_files_are_texts_by_relative_name(self, task: Task) -> None:
        files = self.make().render(task)
        assert files
        assert [name for name in files if not _stays_inside(name)] == []
        assert {type(text) for text in files.values()} == {str}

    def test_rendering_is_a_function_of_the_task(self, task: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        launcher = self.make()
        files = dict(launcher.render(task))
        monkeypatch.chdir(tmp_path)
        assert dict(launcher.render(task)) == files
        assert dict(self.make().render(task)) == files

    def test_rendering_writes_nothing(self, task: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A dry run works anywhere."""
        monkeypatch.chdir(tmp_path)
        before = sorted(tmp_path.rglob("*"))
        self.make(render_to=str(tmp_path / "rendered")).render(task)
        assert sorted(tmp_path.rglob("*")) == before

    def test_nothing_is_remembered_from_one_task_to_the_next(self, task: Task) -> None:
        launcher = self.make()
        launcher.render(replace(task, name="another", folder=task.folder / "another", env={"ANOTHER": "1"}))
        assert dict(launcher.render(task)) == dict(self.make().render(task))

    def test_hostile_words_and_variables_stay_data(self, task: Task, tmp_path: Path) -> None:
        hostile = replace(task, argv=(*task.argv, HOSTILE), env={**task.env, "SAID": HOSTILE})
        self._renders_safely(self.make(), hostile, tmp_path)

    def test_hostile_options_stay_data(self, task: Task, tmp_path: Path) -> None:
        """Options are a stranger's words too: refused, or kept as data."""
        for number, launcher in enumerate(self._with_hostile_options()):
            self._renders_safely(launcher, task, tmp_path / str(number))

    def test_an_unknown_job_is_unknown(self, unknown: JobRef) -> None:
        launcher = self.make()
        assert launcher.status(unknown).state is JobState.UNKNOWN
        assert list(launcher.logs(unknown)) == []

    def test_cancelling_a_job_that_has_ended_does_nothing(self, ended: JobRef) -> None:
        before = self.make().status(ended).state
        self.make().cancel(ended)
        assert self.make().status(ended).state is before

    def test_all_jobs_at_once_stand_as_each_of_them_does(self, ended: JobRef, unknown: JobRef) -> None:
        """In the order of the question."""
        launcher = self.make()
        for jobs in ([unknown, ended], [ended, unknown], []):
            assert launcher.statuses(jobs) == [launcher.status(job) for job in jobs]

    @where(lambda suite: suite.submits)
    def test_a_job_runs_its_argv_as_given(self, task: Task) -> None:
        """Word for word, with its variables; any process may ask how it went and what it wrote."""
        job = self._submitted(replace(task, argv=(sys.executable, "-c", SAYS, HOSTILE), env={**task.env, "SAID": HOSTILE}))
        status = self._awaited(job)
        assert status.state is JobState.COMPLETED, status
        assert status.exit_code in (0, None)
        [(words, variables)] = self._said(job)
        assert (words, variables["SAID"]) == ([HOSTILE], HOSTILE)

    @where(lambda suite: suite.submits)
    def test_a_job_that_fails_has_failed(self, task: Task) -> None:
        status = self._awaited(self._submitted(replace(task, argv=(sys.executable, "-c", "raise SystemExit(3)"))))
        assert status.state is JobState.FAILED, status
        assert status.exit_code in (3, None)

    @where(lambda suite: suite.submits)
    def test_a_cancelled_job_ends(self, task: Task) -> None:
        job = self._submitted(replace(task, argv=(sys.executable, "-c", WAITS)))
        self._wait(lambda: "waiting" in [line for _, line in self.make().logs(job)], job)
        assert self.make().status(job).state is JobState.RUNNING
        self.make().cancel(job)
        assert self._awaited(job).state in (JobState.CANCELLED, JobState.UNKNOWN)
        self.make().cancel(job)

    @where(lambda suite: suite.submits)
    def test_members_know_their_number(self, task: Task) -> None:
        jobs = self._submitted_all(replace(task, argv=(sys.executable, "-c", SAYS), members=2))
        assert {self._awaited(job).state for job in jobs} == {JobState.COMPLETED}
        assert [[variables["CPT_MEMBER"] for _, variables in self._said(job)] for job in jobs] == [["0"], ["1"]]

    @where(lambda suite: suite.submits and suite.nodes > 1)
    def test_nodes_know_their_place(self, task: Task) -> None:
        job = self._submitted(replace(task, argv=(sys.executable, "-c", SAYS), nodes=2))
        assert self._awaited(job).state is JobState.COMPLETED
        places = [variables for _, variables in self._said(job)]
        assert sorted(place["NODE_RANK"] for place in places) == ["0", "1"]
        [(host, port)] = {(place["MASTER_ADDR"], place["MASTER_PORT"]) for place in places}
        assert host
        assert 1024 <= int(port) < 65535

    def _with_hostile_options(self) -> Iterator[Launcher]:
        for name in self.plugin.Options.model_fields:
            for value in (HOSTILE, [HOSTILE], {"NAME": HOSTILE}, {HOSTILE: "value"}):
                try:
                    options: BaseModel = self.plugin.Options.model_validate_json(json.dumps({**self.options, name: value}))
                    yield self.plugin(options)
                except (ValidationError, UserError):
                    continue

    def _renders_safely(self, launcher: Launcher, task: Task, folder: Path) -> None:
        try:
            files = launcher.render(task)
        except UserError:  # refusing is safe too
            return
        assert scripts_that_break(files, folder) == []
        assert documents_that_break(files) == []

    def _submitted(self, task: Task) -> JobRef:
        [job] = self._submitted_all(task)
        return job

    def _submitted_all(self, task: Task) -> list[JobRef]:
        task.folder.mkdir(parents=True, exist_ok=True)
        launcher = self.make()
        launcher.check(task)
        jobs = [JobRef(id, task.name, str(task.folder)) for id in launcher.submit(task)]
        self._jobs += jobs
        assert len({job.id for job in jobs}) == task.members
        return jobs

    def _awaited(self, job: JobRef) -> JobStatus:
        """The status of `job` once it has ended."""
        self._wait(lambda: self.make().status(job).state.ended, job)
        return self.make().status(job)

    def _said(self, job: JobRef) -> list[tuple[list[str], dict[str, str]]]:
        """What each process that ran `SAYS` found."""
        lines = [line for _, line in self.make().logs(job)]
        return [tuple(json.loads(line)) for line in lines if line.startswith("[[")]

    def _wait(self, is_so: Callable[[], bool], job: JobRef) -> None:
        deadline = time.monotonic() + self.patience_s
        while not is_so():
            assert time.monotonic() < deadline, f"after {self.patience_s} s: {self.make().status(job)}, {list(self.make().logs(job))}"
            time.sleep(POLL_S)


def _stays_inside(name: str) -> bool:
    path = PurePosixPath(name)
    return bool(path.parts) and not path.is_absolute() and ".." not in path.parts and name.isprintable()
