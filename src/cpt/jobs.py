"""`cpt jobs`: the jobs of any launcher, found through the runs that they do.

A run's `job/submitted.json` and its manifest say which launcher has which job; a list of the runs that this user started is kept in the
user's cache folder, and losing it loses the list alone.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from cpt import plugins, storage
from cpt.console import say
from cpt.contracts import JobState, JobStatus, Launcher
from cpt.errors import StorageError, UserError, one_line
from cpt.launch.watch import Watched
from cpt.order import ORDER, Submitted
from cpt.recipe.interpolation import resolve
from cpt.rundir import RunDirectory

KEPT = 1_000
"""Runs in the list; older ones drop out."""
_BY_STATUS = {"completed": JobState.COMPLETED, "failed": JobState.FAILED, "interrupted": JobState.PREEMPTED}


@dataclass(frozen=True)
class JobView:
    """A job as a person sees it.

    Args:
        run: Its run's folder or URL.
        launcher: Who has it.
        id: Its id there.
        state: See `cpt.contracts.JobState`.
        reason: In the launcher's words.
        exit_code: How it ended, where that is known.
        steps: Optimizer steps committed; of a running job those done, where its folder is here.
        total_steps: Optimizer steps planned; None where another engine plans.
        submitted: When, in seconds since 1970.
    """

    run: str
    launcher: str
    id: str
    state: JobState
    reason: str
    exit_code: int | None
    steps: int
    total_steps: int | None
    submitted: float

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)


def remember(run: RunDirectory) -> None:
    """Puts a run on the list."""
    folder = _list_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / hashlib.sha256(run.uri().encode()).hexdigest()[:16]).write_text(run.uri())
        for file in _newest_first(folder)[KEPT:]:
            file.unlink(missing_ok=True)
    except OSError:  # a list that cannot be kept must not stop a run
        return


def listed() -> list[JobView]:
    """The jobs of the runs on the list, newest first; those whose run is gone are left out, those that cannot be asked about say why."""
    found = [(run, job) for run, job in _remembered() if job is not None]
    views = [view for group in _by_launcher(found) for view in _views_or_why(group)]
    return sorted(views, key=lambda view: -view.submitted)


def view(word: str) -> JobView:
    """The job of a run, or with an id.

    Raises:
        UserError: There is no such job.
    """
    return _view_now(*_found(word))


def views(word: str) -> list[JobView]:
    """The jobs of the runs that `word` names (see `named`); each launcher is asked once.

    Raises:
        UserError: There is no such job, or a launcher does not answer.
    """
    groups = _by_launcher([_found(run) for run in named(word)])
    return [_view(run, job, status) for group in groups for (run, job), status in zip(group, _statuses(group), strict=True)]


def named(word: str) -> list[str]:
    """The runs that `word` names: a run or job by itself, or the members of a sweep by its folder or URL.

    Raises:
        UserError: There is no such job.
    """
    if storage.is_url(word) or Path(word).is_dir():
        members = [storage.join(word, name) for name in storage.list_names(word)]
        jobs = [] if Submitted.read(RunDirectory.at(word)) else [place for place in members if _has_job(place)]
        if jobs:
            if without := sum(storage.exists(storage.join(place, ORDER)) for place in members if place not in jobs):
                say(f"warning: {without} more were ordered and have no job that is known here: by hand, and not begun; or refused")
            return jobs
    return [_found(word)[0].uri()]


def logs(word: str, process: str | None = None) -> Iterator[tuple[str, str]]:
    """What the job has written so far: process and line; only those of `process`, if one is named.

    Raises:
        UserError: There is no such job, or process.
    """
    _, job = _found(word)
    lines = list(_launcher(job).logs(job.ref))
    names = list(dict.fromkeys(name for name, _ in lines))
    if process is not None and lines and process not in names:
        raise UserError("--process", process, f"has written nothing to {job.launcher} {job.id}", f"There are: {', '.join(names)}")
    yield from ((name, line) for name, line in lines if process in (None, name))


def cancel(word: str) -> JobView:
    """Asks the job to commit and end, and returns how it stands.

    Raises:
        UserError: There is no such job.
    """
    run, job = _found(word)
    _launcher(job).cancel(job.ref)
    return _view_now(run, job)


def wait(word: str, timeout_s: float | None = None, poll_s: float = 2.0) -> Iterator[JobView]:
    """How the job stands, time and again until it has ended: the last one says how.

    Raises:
        UserError: There is no such job, it has not ended after `timeout_s` seconds, or its launcher has been silent for too long.
    """
    run, job = _found(word)
    watched = Watched(_launcher(job))
    deadline = time.monotonic() + (timeout_s if timeout_s is not None else float("inf"))
    while True:
        seen = _view(run, job, watched.status(job.ref))
        yield seen
        if seen.state.ended:
            _take_results(run, job, seen)
            return
        if time.monotonic() > deadline:
            raise UserError("--timeout", f"{timeout_s:g}", f"{job.launcher} {job.id} is still {seen.state}", "Wait longer, or cancel it")
        time.sleep(poll_s)


def _take_results(run: RunDirectory, job: Submitted, seen: JobView) -> None:
    """Enters in the manifest what another engine left; ours does so itself."""
    launcher = _launcher(job)
    if not launcher.takes_recipe:
        return
    status = {JobState.COMPLETED: "completed", JobState.FAILED: "failed"}.get(seen.state, "interrupted")
    results = launcher.results(job.ref) if seen.state is JobState.COMPLETED else {}
    with run.lease(wait_s=10.0):
        run.update_manifest(status=status, job=job.to_json(), **results)


def _view(run: RunDirectory, job: Submitted, status: JobStatus) -> JobView:
    manifest = run.manifest() or {}
    status = _settled(status, manifest)
    steps, total = manifest.get("steps", 0), manifest.get("plan", {}).get("steps")
    if status.state is JobState.RUNNING:
        steps = max(steps, run.metrics.last_step())
    return JobView(run.location, job.launcher, job.id, status.state, status.reason, status.exit_code, steps, total, job.submitted)


def _view_now(run: RunDirectory, job: Submitted) -> JobView:
    return _view(run, job, _launcher(job).status(job.ref))


def _by_launcher(found: Sequence[tuple[RunDirectory, Submitted]]) -> list[list[tuple[RunDirectory, Submitted]]]:
    """Those that one launcher can be asked about at once, together."""
    groups: dict[str, list[tuple[RunDirectory, Submitted]]] = {}
    for run, job in found:
        groups.setdefault(json.dumps([job.launcher, job.options], sort_keys=True), []).append((run, job))
    return list(groups.values())


def _statuses(group: Sequence[tuple[RunDirectory, Submitted]]) -> list[JobStatus]:
    return _launcher(group[0][1]).statuses([job.ref for _, job in group]) if group else []


def _views_or_why(group: Sequence[tuple[RunDirectory, Submitted]]) -> Iterator[JobView]:
    """The jobs; of completed runs without a question to their launcher, and with the reason where that cannot be asked."""
    done = [(run, job) for run, job in group if _is_completed(run)]
    asked = [one for one in group if one not in done]
    yield from (_view(run, job, JobStatus(JobState.COMPLETED)) for run, job in done)
    try:
        yield from [_view(run, job, status) for (run, job), status in zip(asked, _statuses(asked), strict=True)]
    except UserError as error:
        for run, job in asked:
            yield JobView(run.location, job.launcher, job.id, JobState.UNKNOWN, one_line(error), None, 0, None, job.submitted)


def _is_completed(run: RunDirectory) -> bool:
    with suppress(UserError):
        return (run.manifest() or {}).get("status") == "completed"
    return False


def _settled(status: JobStatus, manifest: dict[str, Any]) -> JobStatus:
    """The run's own word where the launcher has forgotten the job."""
    if status.state is JobState.UNKNOWN and (state := _BY_STATUS.get(manifest.get("status", ""))):
        return JobStatus(state, f"the run is {manifest['status']}")
    return status


def _launcher(job: Submitted) -> Launcher:
    given = resolve({"launcher": {"options": job.options}}, os.environ)["launcher"]["options"]
    found, options = plugins.load("launchers", job.launcher, given, "launcher")
    launcher: Launcher = found(options)
    return launcher


def _found(word: str) -> tuple[RunDirectory, Submitted]:
    """The run and job that `word` names: a run's folder or URL, or the id or name of a job on the list."""
    if storage.is_url(word) or Path(word).is_dir():
        run = RunDirectory.at(word)
        if job := Submitted.read(run):
            return run, job
        raise StorageError(word, "", "is no run with a job", "Name the folder of a run, or an id of cpt jobs list")
    for run, found in _remembered():
        if found is not None and word in (found.id, run.name):
            return run, found
    raise UserError("job", word, "is neither the folder of a run or sweep nor the id of a run's latest job", "cpt jobs list shows them")


def _has_job(location: str) -> bool:
    return (storage.is_url(location) or Path(location).is_dir()) and Submitted.read(RunDirectory.at(location)) is not None


def _remembered() -> Iterator[tuple[RunDirectory, Submitted | None]]:
    """The runs on the list that are still there, newest first, and their jobs."""
    for file in _newest_first(_list_folder()):
        run = RunDirectory.at(file.read_text())
        with suppress(UserError):  # a bucket that is gone must not hide the others
            if storage.is_url(run.location) or Path(run.location).is_dir():
                yield run, Submitted.read(run)


def _list_folder() -> Path:
    return storage.cache_folder("jobs")


def _newest_first(folder: Path) -> list[Path]:
    return sorted(folder.iterdir(), key=os.path.getmtime, reverse=True) if folder.is_dir() else []
