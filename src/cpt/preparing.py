"""Tokenising on other machines: an array of shard tasks of a launcher, followed to its end; what they made is joined here.

<store>/prepare-<of what>/shards.json tokenizer/    what there is to do
<store>/prepare-<of what>/task-000/job/             a task's job, as a run keeps its own: `cpt jobs` has it on its list
"""

from __future__ import annotations

import hashlib
import shlex
import shutil
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from cpt import jobs, storage
from cpt.base import Base
from cpt.console import StatusLine, say
from cpt.contracts import JobRef, JobState, JobStatus, Launcher, Task
from cpt.data.prepare import shard_job, store_root
from cpt.data.shard import ShardJob, argv_of
from cpt.data.store import local_root
from cpt.errors import EXIT_USER, CptError, DataError, Interrupted, ResourceError, StorageError
from cpt.handover import submit_noted
from cpt.launch.watch import Watched
from cpt.order import Submitted
from cpt.recipe.schema import Recipe
from cpt.resources import Chosen, processes_per_node
from cpt.rundir import RunDirectory

POLL_S = 2.0
ANOTHER_SUBMITS_S = 60.0
"""Seconds to wait for another command that submits the same."""
LINES_SHOWN = 5
"""Of the log of a task that failed."""


def tokenise_elsewhere(recipe: Recipe, base: Base, chosen: Chosen) -> None:
    """Has the nodes of the recipe's cluster tokenise its data, each its share, and returns when all have.

    Nothing happens where the stores are there, or there is too little to share out. The same command again follows tasks that still wait
    or run, and else submits what is missing.

    Raises:
        UserError: The data is invalid, or the launcher refuses the tasks.
        Interrupted: Ctrl-C; the tasks run on.
        CptError: A task failed.
    """
    job = shard_job(recipe, base.folder)
    if job is None:
        say(f"nothing to share out: launcher={chosen.name} is not needed")
        return
    folder = _job_folder(recipe, job)
    with storage.lease(str(folder), ANOTHER_SUBMITS_S):
        tasks = _going_on(folder, chosen)
        if not tasks and _done(job) < len(job.shards):  # a command that was stopped may have left nothing but to join
            tasks = _submit(recipe, job, folder, chosen)
    if tasks:
        try:
            _follow(chosen.launcher, [task.ref for task in tasks], job)
        except KeyboardInterrupt:
            raise Interrupted(_runs_on(tasks)) from None
    shutil.rmtree(folder, ignore_errors=True)  # another command that followed them may be faster


def _job_folder(recipe: Recipe, job: ShardJob) -> Path:
    """Beside the stores, where the nodes reach them too; named by what is to be done."""
    names = hashlib.sha256(" ".join(shard.name for shard in job.shards).encode()).hexdigest()[:16]
    return local_root(store_root(recipe.data.store)) / f"prepare-{names}"


def _going_on(folder: Path, chosen: Chosen) -> list[Submitted]:
    """The tasks of an earlier command; none where all have ended.

    Raises:
        StorageError: That command was cut off while it submitted them.
        ResourceError: Another launcher has them.
    """
    places = sorted(str(place) for place in folder.glob("task-*"))
    noted = [job for place in places if (job := Submitted.read(RunDirectory.at(place)))]
    if not all(job.id for job in noted):
        rule = f"was cut off before {noted[0].launcher} had answered: tasks may be in its queue"
        raise StorageError(str(folder), "", rule, "Look there, and delete this folder to submit them")
    if all(jobs.view(place).state.ended for place in places):
        return []
    first = noted[0]
    if first.launcher != chosen.name:
        cure = f"launcher={first.launcher} follows it; {_cancel(first)} ends it"
        raise ResourceError("launcher", chosen.name, f"{first.launcher} {first.id} tokenises this data already", cure)
    say(f"submitted already: {first.launcher} {first.id}{_others(noted)}")
    return noted


def _submit(recipe: Recipe, job: ShardJob, folder: Path, chosen: Chosen) -> list[Submitted]:
    members = min(recipe.cluster.nodes, len(job.shards))
    task = Task("cpt-prepare", argv_of(folder, members, processes=0), 1, processes_per_node(recipe), folder, members=members)
    chosen.launcher.check(task)
    job.save(folder)
    places = [RunDirectory(str(folder), f"task-{member:03}") for member in range(members)]
    tasks = submit_noted(places, task, chosen)
    for place in places:
        jobs.remember(place)
    say(f"tokenising {len(job.shards)} shards in {members} tasks: {chosen.name} {tasks[0].id}")
    return tasks


def _follow(launcher: Launcher, refs: Sequence[JobRef], job: ShardJob) -> None:
    watched, line = Watched(launcher), StatusLine()
    try:
        statuses = watched.statuses(refs)
        while not all(status.state.ended for status in statuses):
            counted = "" if storage.is_url(job.root) else f"{_done(job)}/{len(job.shards)} shards  "
            line.update(f"tokenise  {counted}{_counted(statuses)}")
            time.sleep(POLL_S)
            statuses = watched.statuses(refs)
    finally:
        line.clear()
    failed = [(ref, status) for ref, status in zip(refs, statuses, strict=True) if status.state is not JobState.COMPLETED]
    if failed and _done(job) < len(job.shards):  # a launcher may have forgotten a job that ended well
        _raise(launcher, *failed[0])


def _raise(launcher: Launcher, ref: JobRef, status: JobStatus) -> None:
    said = [text for _, text in launcher.logs(ref)][-LINES_SHOWN:]
    message = " ".join([f"{ref.id}: {status.state}", status.reason, *said])
    if status.exit_code == EXIT_USER:
        raise DataError("data", ref.id, message, "The same command goes on")
    raise CptError(f"a task failed: {message}. The same command goes on")


def _done(job: ShardJob) -> int:
    """Shards that are there, or in a store that is."""

    def is_there(name: str) -> bool:
        return storage.exists(storage.join(job.root, name, storage.MARKER))

    return sum(is_there(shard.name) or is_there(shard.store) for shard in job.shards)


def _counted(statuses: Sequence[JobStatus]) -> str:
    return ", ".join(f"{count} {state}" for state, count in Counter(status.state for status in statuses).items())


def _runs_on(tasks: Sequence[Submitted]) -> str:
    first = tasks[0]
    return f"{first.launcher} {first.id}{_others(tasks)} runs on: the same command follows, {_cancel(first)} ends it"


def _cancel(task: Submitted) -> str:
    """The command that cancels it and all beside it."""
    return shlex.join(["cpt", "jobs", "cancel", task.folder])


def _others(tasks: Sequence[Submitted]) -> str:
    return f" and {len(tasks) - 1} more" if len(tasks) > 1 else ""
