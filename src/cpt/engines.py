"""A recipe given whole to another engine than ours (`Launcher.takes_recipe`): nothing is prepared here, and its job is done once."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from cpt.base import with_amazons_start
from cpt.console import say
from cpt.contracts import JobState, Task
from cpt.handover import refuse_unnoted, submit_queued, task_for
from cpt.identity import default_name, identity
from cpt.manifest import new_manifest
from cpt.order import Submitted
from cpt.recipe.schema import Recipe
from cpt.resources import Chosen
from cpt.rundir import RunDirectory
from cpt.submit import queue_name, refuse_other_identity


def recipe_run(recipe: Recipe) -> RunDirectory:
    """The directory of a run that another engine does: named by what the recipe says, since nobody here reads its data."""
    return RunDirectory(recipe.run.output, recipe.run.name or default_name(recipe.model.name, identity(_recipe_parts(recipe))))


def recipe_task(recipe: Recipe, run: RunDirectory) -> Task:
    """What a launcher whose engine is another one is asked for: the recipe, its start resolved.

    Raises:
        CheckpointError: `model.init` names a job that left no checkpoint for it.
    """
    task = task_for(recipe, queue_name(run.name), (), run.job_folder)
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
        if earlier := _standing(run, parts, chosen):  # another command was faster
            return run, earlier
        refuse_unnoted(run)
        before = run.manifest()
        manifest = new_manifest(identity=identity(parts), identity_parts=parts, data={}, versions={}, parent=recipe.model.init)
        run.write_recipe(recipe_yaml, json.dumps(recipe.kept(), indent=2))
        run.write_manifest(manifest | {"status": "queued"})
        return run, submit_queued(run, task, chosen, before)


def _standing(run: RunDirectory, parts: dict[str, Any], chosen: Chosen) -> Submitted | None:
    """The run's job where that waits, runs or is done: another engine does not go on, so it is not asked twice."""
    manifest, job = run.manifest(), Submitted.read(run)
    if manifest is not None:
        refuse_other_identity(run, manifest, parts)
    if manifest is None or job is None or not job.id or job.launcher != chosen.name:
        return None
    is_done = manifest["status"] == "completed" or (state := chosen.launcher.status(job.ref).state) is JobState.COMPLETED
    if not is_done and state.ended:
        return None
    say(f"{'finished' if is_done else 'submitted'} already: {job.launcher} {job.id}")
    return job


def _recipe_parts(recipe: Recipe) -> dict[str, Any]:
    tree = recipe.kept()
    return {name: tree[name] for name in ("model", "optim", "sched", "train", "data")} | {"seed": recipe.run.seed}
