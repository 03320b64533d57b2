"""From a submission to a launcher: what would be submitted is written, then submitted, then recorded."""

from __future__ import annotations

import contextlib
import json
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from cpt import storage
from cpt.console import say
from cpt.contracts import JobRef, LauncherOptions, Task
from cpt.data.prepare import store_root
from cpt.errors import StorageError, UserError
from cpt.order import ATTEMPTS, SUBMITTED, Order, Submitted
from cpt.recipe.schema import Recipe
from cpt.resources import Chosen, gpus_per_node, processes_per_node
from cpt.rundir import MANIFEST, RunDirectory
from cpt.submission import Submission
from cpt.submit import finished, manifest_to_go_on_with, queue_name, write_records

MEMBERS = "members.json"
"""Which runs an array has: their URIs, as a list."""
BY_HAND = "by-hand"
"""Folder in that of a dry run: what the submission would leave under `run.output` for the nodes."""


@dataclass(frozen=True)
class Delivery:
    """A run that is to be done elsewhere.

    Args:
        run: Where.
        submission: What.
        recipe_yaml: The recipe as composed, for the run directory.
    """

    run: RunDirectory
    submission: Submission
    recipe_yaml: str


def hand_over(delivery: Delivery, chosen: Chosen, env: Mapping[str, str] | None = None, wait_s: float = 0.0) -> Submitted | None:
    """Submits a run and records its job; None where it is finished already. A job that still waits or runs is left as it is.

    Args:
        delivery: The run.
        chosen: The launcher.
        env: Environment variables to add; no secrets.
        wait_s: Seconds to wait for an earlier writer of the run to end.

    Raises:
        RecipeError, StorageError: See `cpt.submit.submit`.
        ResourceError: The launcher refuses it; the run stays what it was.
    """
    run, task = delivery.run, replace(run_task(delivery), env=env or {})
    if earlier := _going_on(run, chosen):
        return earlier
    chosen.launcher.check(task)
    with run.lease(wait_s):
        if earlier := _going_on(run, chosen):  # another command was faster
            return earlier
        before = run.manifest()
        if not _write_order(delivery):
            return None
        return submit_queued(run, task, chosen, before)


def hand_over_members(deliveries: Sequence[Delivery], chosen: Chosen, place: RunDirectory, parallel: int | None) -> list[Submitted]:
    """Submits members of a sweep that need the same resources as one array, and records each one's job.

    Args:
        deliveries: Unfinished runs, their orders written (`write_order`).
        chosen: The launcher.
        place: Of the array: the list of its members, its scripts and logs.
        parallel: Members that may run at once; None: all.

    Raises:
        ResourceError: The launcher refuses them.
    """
    task = members_task(deliveries, place, parallel)
    chosen.launcher.check(task)
    storage.write_bytes(place.uri(MEMBERS), members_of(deliveries).encode())
    runs = [delivery.run for delivery in deliveries]
    try:
        jobs = submit_noted(runs, task, chosen)
    except UserError:
        for run in runs:
            with run.lease():
                _unqueue(run)
        raise
    for run, job in zip(runs, jobs, strict=True):
        with contextlib.suppress(StorageError), run.lease():  # a member that runs already holds the lease, and enters its job itself
            run.update_manifest(job=job.to_json())
    return jobs


def members_task(deliveries: Sequence[Delivery], place: RunDirectory, parallel: int | None) -> Task:
    """The array of `hand_over_members`: each agent looks its run up in the list at `place`."""
    argv = (sys.executable, "-m", "cpt.node", "--members", place.uri(MEMBERS))
    first = deliveries[0]
    task = task_for(first.submission.recipe, queue_name(first.run.name.partition("/")[0]), argv, place.local)
    return replace(task, members=len(deliveries), parallel=parallel)


def rehearse_members(deliveries: Sequence[Delivery], chosen: Chosen, place: RunDirectory, parallel: int | None, part: str) -> str:
    """Writes what `hand_over_members` would submit, and returns the folder that holds it; see `render`."""
    folder = render(members_task(deliveries, place, parallel), chosen, place.local, part)
    _leave_for_the_nodes(deliveries, folder)
    sweep = deliveries[0].run.name.partition("/")[0]
    storage.write_bytes(storage.join(folder, BY_HAND, sweep, place.name, MEMBERS), members_of(deliveries).encode())
    return folder


def members_of(deliveries: Sequence[Delivery]) -> str:
    """The text of `MEMBERS`."""
    return json.dumps([delivery.run.uri() for delivery in deliveries])


def write_order(delivery: Delivery, wait_s: float = 0.0) -> bool:
    """Writes the records of a run that is to be done elsewhere, status `queued`, and its order; false where it is finished already.

    Raises:
        RecipeError, StorageError: See `cpt.submit.submit`; or an earlier submission was cut off before it was noted.
    """
    with delivery.run.lease(wait_s):
        return _write_order(delivery)


def _write_order(delivery: Delivery) -> bool:
    run, submission = delivery.run, delivery.submission
    refuse_unnoted(run)
    manifest = manifest_to_go_on_with(run, submission)
    if manifest is not None and finished(manifest, submission.plan):
        say(f"finished already: {manifest['steps']} steps; a larger train.max_steps or train.max_epochs goes on")
        return False
    for earlier in (SUBMITTED, ATTEMPTS):
        storage.remove(run.uri(earlier))
    write_records(run, submission, delivery.recipe_yaml, manifest, status="queued")
    _order(delivery).write(run)
    return True


def run_task(delivery: Delivery) -> Task:
    """What a launcher is asked for: the agent of each node (`cpt.node`)."""
    run = delivery.run
    argv = (sys.executable, "-m", "cpt.node", run.uri())
    return task_for(delivery.submission.recipe, queue_name(run.name), argv, run.job_folder)


def rehearse(delivery: Delivery, chosen: Chosen) -> str:
    """Writes what would be submitted, starts nothing, touches nothing of the run, and returns the folder that holds it.

    Raises:
        RecipeError: See `cpt.submit.submit`.
    """
    check_order(delivery)
    folder = render(run_task(delivery), chosen, delivery.run.job_folder / "dry-run")
    _leave_for_the_nodes([delivery], folder)
    return folder


def _leave_for_the_nodes(deliveries: Sequence[Delivery], folder: str) -> None:
    storage.remove(storage.join(folder, BY_HAND))  # that of an earlier dry run
    for delivery in deliveries:
        run = RunDirectory(storage.join(folder, BY_HAND), delivery.run.name)
        _order(delivery).write(run)
        storage.write_bytes(run.uri("recipe.yaml"), delivery.recipe_yaml.encode())


def check_order(delivery: Delivery) -> None:
    """Refuses a run that could not be submitted as it is.

    Raises:
        RecipeError: See `cpt.submit.submit`.
    """
    manifest_to_go_on_with(delivery.run, delivery.submission)


def render(task: Task, chosen: Chosen, default: Path, part: str = "") -> str:
    """Writes the files that a submission would write, and returns their folder.

    Args:
        task: What would be submitted.
        chosen: The launcher.
        default: The folder, where `launcher.options.render_to` names none.
        part: Folder within the one that is named, for one of several submissions.
    """
    options = chosen.launcher.options
    named = options.render_to if isinstance(options, LauncherOptions) else None
    folder = storage.local_path(named) / part if named else default
    with storage.reported(str(folder)):
        for name, text in chosen.launcher.render(task).items():
            file = folder / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")
    return str(folder)


def submit_noted(runs: Sequence[RunDirectory], task: Task, chosen: Chosen) -> list[Submitted]:
    """Submits, and notes the jobs. That it is about to is noted first: a kill in between must not lead to a second submission."""
    unnoted = Submitted.now(chosen.name, chosen.kept_options, JobRef("", task.name, str(task.folder)))
    for run in runs:
        unnoted.write(run)
    try:
        ids = chosen.launcher.submit(task)
    except UserError:
        for run in runs:
            storage.remove(run.uri(SUBMITTED))
        raise
    jobs = [replace(unnoted, id=job) for job in ids]
    for run, job in zip(runs, jobs, strict=True):
        job.write(run)
    return jobs


def submit_queued(run: RunDirectory, task: Task, chosen: Chosen, before: dict[str, Any] | None) -> Submitted:
    """Submits a run that says that it is queued, and records its job; where that is refused the manifest is again what it was `before`."""
    try:
        job = submit_noted([run], task, chosen)[0]
    except UserError:
        restore(run, before)
        raise
    run.update_manifest(job=job.to_json())
    return job


def restore(run: RunDirectory, manifest: dict[str, Any] | None) -> None:
    """Makes the run what it was before a submission that was refused."""
    if manifest is None:
        storage.remove(run.uri(MANIFEST))
    else:
        run.write_manifest(manifest)


def _unqueue(run: RunDirectory) -> None:
    """Has a run that was refused say so no more that it is queued: it is where it had stopped, or has not begun."""
    manifest = run.manifest()
    restore(run, {**manifest, "status": "interrupted"} if manifest and manifest["checkpoints"] else None)


def refuse_unnoted(run: RunDirectory) -> None:
    """Refuses a run of which nobody knows whether it was submitted.

    Raises:
        StorageError: A submission was cut off before its job was noted.
    """
    job = Submitted.read(run)
    if job is not None and not job.id:
        since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(job.submitted))
        rule = f"was cut off at {since}, before {job.launcher} had answered: the job may be in its queue"
        raise StorageError(run.uri(SUBMITTED), job.name, rule, "Look there, and delete this file to submit the run")


def _going_on(run: RunDirectory, chosen: Chosen) -> Submitted | None:
    """The run's job, where that still waits or runs; says so."""
    job = Submitted.read(run)
    if job is None or not job.id or job.launcher != chosen.name or chosen.launcher.status(job.ref).state.ended:
        return None
    say(f"submitted already: {job.launcher} {job.id}")
    return job


def task_for(recipe: Recipe, name: str, argv: tuple[str, ...], folder: Path) -> Task:
    """A task on what the recipe's cluster says.

    Args:
        recipe: The recipe.
        name: For the queue.
        argv: What each node runs.
        folder: For scripts and logs.
    """
    return Task(name, argv, recipe.cluster.nodes, processes_per_node(recipe), folder, gpus_per_node(recipe))


def _order(delivery: Delivery) -> Order:
    recipe = delivery.submission.recipe
    fingerprints = delivery.submission.prepared.fingerprints
    return Order(
        delivery.run.name,
        recipe,
        delivery.recipe_yaml,
        fingerprints,
        store_root(recipe.data.store),
        str(Path.cwd()),
        processes_per_node(recipe),
    )
