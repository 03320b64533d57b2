"""Tokenising on other machines: an array of shard tasks of a launcher, followed to its end; what they made is joined here."""

from __future__ import annotations

import hashlib
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from cpt import storage
from cpt.base import Base
from cpt.console import StatusLine, say
from cpt.contracts import JobRef, JobState, JobStatus, Launcher, Task
from cpt.data.prepare import shard_job, store_root
from cpt.data.shard import ShardJob, argv_of
from cpt.data.store import local_root
from cpt.errors import EXIT_USER, CptError, DataError, Interrupted
from cpt.recipe.schema import Recipe
from cpt.resources import Chosen, processes_per_node

POLL_S = 2.0
LINES_SHOWN = 5
"""Of the log of a task that failed."""


def tokenise_elsewhere(recipe: Recipe, base: Base, chosen: Chosen) -> None:
    """Has the nodes of the recipe's cluster tokenise its data, each its share, and returns when all have.

    Nothing happens where the stores are there, or there is too little to share out. The same command again does only what is missing.

    Raises:
        UserError: The data is invalid, or the launcher refuses the tasks.
        Interrupted: Ctrl-C; the tasks run on.
        CptError: A task failed.
    """
    job = shard_job(recipe, base.folder)
    if job is None:
        return
    folder = _job_folder(recipe, job)
    job.save(folder)
    members = min(recipe.cluster.nodes, len(job.shards))
    task = Task("cpt-prepare", argv_of(folder, members, processes=0), 1, processes_per_node(recipe), folder, members=members)
    chosen.launcher.check(task)
    refs = [JobRef(id_, task.name, str(folder)) for id_ in chosen.launcher.submit(task)]
    say(f"tokenising {len(job.shards)} shards in {members} tasks: {chosen.name} {refs[0].id}")
    try:
        _follow(chosen.launcher, refs, job)
    except KeyboardInterrupt:
        raise Interrupted(f"{chosen.name} {refs[0].id} runs on") from None
    storage.remove(str(folder))


def _job_folder(recipe: Recipe, job: ShardJob) -> Path:
    """Beside the stores, where the nodes reach them too; named by what is to be done."""
    names = hashlib.sha256(" ".join(shard.name for shard in job.shards).encode()).hexdigest()[:16]
    return local_root(store_root(recipe.data.store)) / f"prepare-{names}"


def _follow(launcher: Launcher, refs: Sequence[JobRef], job: ShardJob) -> None:
    line = StatusLine()
    try:
        statuses = [launcher.status(ref) for ref in refs]
        while not all(status.state.ended for status in statuses):
            counted = "" if storage.is_url(job.root) else f"{_done(job)}/{len(job.shards)} shards  "
            line.update(f"tokenise  {counted}{_counted(statuses)}")
            time.sleep(POLL_S)
            statuses = [launcher.status(ref) for ref in refs]
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
    return sum(storage.exists(storage.join(job.root, shard.name, storage.MARKER)) for shard in job.shards)


def _counted(statuses: Sequence[JobStatus]) -> str:
    return ", ".join(f"{count} {state}" for state, count in Counter(status.state for status in statuses).items())
