"""From a submission to a launcher: what would be submitted is written, then submitted, then recorded."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from cpt import storage
from cpt.base import with_amazons_start
from cpt.console import say
from cpt.contracts import JobRef, JobState, LauncherOptions, Task
from cpt.data.prepare import store_root
from cpt.errors import StorageError
from cpt.identity import default_name, identity
from cpt.manifest import new_manifest
from cpt.order import SUBMITTED, Order, Submitted
from cpt.recipe.schema import Recipe
from cpt.resources import Chosen, gpus_per_node, processes_per_node
from cpt.rundir import RunDirectory
from cpt.submission import Submission
from cpt.submit import finished, manifest_to_go_on_with, queue_name, refuse_other_identity, write_records

MEMBERS = "members.json"


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
        ResourceError: The launcher refuses it.
    """
    run = delivery.run
    if (earlier := Submitted.read(run)) and _goes_on(earlier, chosen):
        say(f"submitted already: {earlier.launcher} {earlier.id}")
        return earlier
    if not write_order(delivery, wait_s):
        return None
    return _submit([run], replace(run_task(delivery), env=env or {}), chosen)[0]


def hand_over_members(deliveries: Sequence[Delivery], chosen: Chosen, folder: Path, parallel: int | None) -> list[Submitted]:
    """Submits members of a sweep that need the same resources as one array, and records each one's job.

    Args:
        deliveries: Unfinished runs, their orders written (`write_order`).
        chosen: The launcher.
        folder: For the array's scripts and logs, on a file system that all nodes share.
        parallel: Members that may run at once; None: all.

    Raises:
        ResourceError: The launcher refuses them.
    """
    return _submit([delivery.run for delivery in deliveries], members_task(deliveries, folder, parallel), chosen)


def members_task(deliveries: Sequence[Delivery], folder: Path, parallel: int | None) -> Task:
    """The array of `hand_over_members`; lists the members in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    listed = folder / MEMBERS
    listed.write_text(json.dumps([delivery.run.uri() for delivery in deliveries]))
    argv = (sys.executable, "-m", "cpt.node", "--members", str(listed))
    first = deliveries[0]
    task = _task(first.submission.recipe, queue_name(first.run.name.partition("/")[0]), argv, folder)
    return replace(task, members=len(deliveries), parallel=parallel)


def write_order(delivery: Delivery, wait_s: float = 0.0) -> bool:
    """Writes the records of a run that is to be done elsewhere, status `queued`, and its order; false where it is finished already.

    Raises:
        RecipeError, StorageError: See `cpt.submit.submit`.
    """
    run, submission = delivery.run, delivery.submission
    with run.lease(wait_s):
        manifest = manifest_to_go_on_with(run, submission)
        if manifest is not None and finished(manifest, submission.plan):
            say(f"finished already: {manifest['steps']} steps; a larger train.max_steps or train.max_epochs goes on")
            return False
        for earlier in (run.uri(SUBMITTED), str(run.job_folder / "attempts.json")):
            storage.remove(earlier)
        write_records(run, submission, delivery.recipe_yaml, manifest, status="queued")
        _order(delivery).write(run)
    return True


def run_task(delivery: Delivery) -> Task:
    """What a launcher is asked for: the agent of each node (`cpt.node`)."""
    run = delivery.run
    argv = (sys.executable, "-m", "cpt.node", run.uri())
    return _task(delivery.submission.recipe, queue_name(run.name), argv, run.job_folder)


def rehearse(delivery: Delivery, chosen: Chosen) -> str:
    """Writes what would be submitted, starts nothing, and returns the folder that holds it.

    Raises:
        StorageError: The run is being written.
        RecipeError: See `cpt.submit.submit`.
    """
    rehearse_order(delivery)
    return render(run_task(delivery), chosen, delivery.run.job_folder)


def rehearse_order(delivery: Delivery) -> None:
    """Writes the recipe and the order of a run that nobody will start; see `rehearse`."""
    run, submission = delivery.run, delivery.submission
    with run.lease():
        manifest_to_go_on_with(run, submission)
        run.write_recipe(delivery.recipe_yaml, json.dumps(submission.recipe.kept(), indent=2))
        _order(delivery).write(run)


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


def recipe_run(recipe: Recipe) -> RunDirectory:
    """The directory of a run that another engine does: named by what the recipe says, since nobody here reads its data."""
    return RunDirectory(recipe.run.output, recipe.run.name or default_name(recipe.model.name, identity(_recipe_parts(recipe))))


def recipe_task(recipe: Recipe, run: RunDirectory) -> Task:
    """What a launcher whose engine is another one is asked for: the recipe, its start resolved.

    Raises:
        CheckpointError: `model.init` names a job that left no checkpoint for it.
    """
    task = _task(recipe, queue_name(run.name), (), run.job_folder)
    return replace(task, recipe=with_amazons_start(recipe).model_dump(mode="json"))


def hand_over_recipe(recipe: Recipe, recipe_yaml: str, chosen: Chosen, run: RunDirectory | None = None) -> tuple[RunDirectory, Submitted]:
    """Submits a recipe to another engine, and records the job in a run directory of ours: `run`, else the recipe's own.

    Raises:
        RecipeError, ResourceError: The launcher refuses it, or the run's name belongs to a run of another recipe.
    """
    run, parts = run or recipe_run(recipe), _recipe_parts(recipe)
    if earlier := _standing(run, parts, chosen):
        return run, earlier
    task = recipe_task(recipe, run)
    chosen.launcher.check(task)
    with run.lease():
        manifest = new_manifest(identity=identity(parts), identity_parts=parts, data={}, versions={}, parent=recipe.model.init)
        run.write_recipe(recipe_yaml, json.dumps(recipe.kept(), indent=2))
        run.write_manifest(manifest | {"status": "queued"})
    return run, _submit_checked([run], task, chosen)[0]


def _standing(run: RunDirectory, parts: dict[str, Any], chosen: Chosen) -> Submitted | None:
    """The run's job where that waits, runs or is done: another engine does not go on, so it is not asked twice."""
    manifest, job = run.manifest(), Submitted.read(run)
    if manifest is not None:
        refuse_other_identity(run, manifest, parts)
    if manifest is None or job is None or job.launcher != chosen.name:
        return None
    is_done = manifest["status"] == "completed" or (state := chosen.launcher.status(job.ref).state) is JobState.COMPLETED
    if not is_done and state.ended:
        return None
    say(f"{'finished' if is_done else 'submitted'} already: {job.launcher} {job.id}")
    return job


def _recipe_parts(recipe: Recipe) -> dict[str, Any]:
    tree = recipe.kept()
    return {name: tree[name] for name in ("model", "optim", "sched", "train", "data")} | {"seed": recipe.run.seed}


def _submit(runs: Sequence[RunDirectory], task: Task, chosen: Chosen) -> list[Submitted]:
    chosen.launcher.check(task)
    return _submit_checked(runs, task, chosen)


def _submit_checked(runs: Sequence[RunDirectory], task: Task, chosen: Chosen) -> list[Submitted]:
    ids = chosen.launcher.submit(task)
    options = chosen.launcher.options.model_dump(mode="json")
    jobs = [Submitted.now(chosen.name, options, JobRef(job, task.name, str(task.folder))) for job in ids]
    for run, job in zip(runs, jobs, strict=True):
        job.write(run)
        with contextlib.suppress(StorageError), run.lease():  # a job that runs already holds the lease, and records this itself
            run.update_manifest(job=job.to_json())
    return jobs


def _goes_on(job: Submitted, chosen: Chosen) -> bool:
    return job.launcher == chosen.name and not chosen.launcher.status(job.ref).state.ended


def _task(recipe: Recipe, name: str, argv: tuple[str, ...], folder: Path) -> Task:
    return Task(name, argv, recipe.cluster.nodes, processes_per_node(recipe), folder, gpus_per_node(recipe))


def _order(delivery: Delivery) -> Order:
    recipe = delivery.submission.recipe
    fingerprints = delivery.submission.prepared.fingerprints
    return Order(delivery.run.name, recipe, delivery.recipe_yaml, fingerprints, store_root(recipe.data.store), str(Path.cwd()))
