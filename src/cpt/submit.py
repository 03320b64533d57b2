"""From a recipe to a run: base, launcher, data, plan, identity, run directory, launch. Nothing starts before all of it is good."""

from __future__ import annotations

import contextlib
import importlib.metadata
import math
import os
import platform
import sys
import threading
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from cpt import rundir, storage
from cpt.base import Base, resolve_base
from cpt.console import StatusLine, quantity
from cpt.contracts import Launcher
from cpt.data.prepare import Prepared, estimated_tokens, prepare
from cpt.errors import (
    EXIT_OURS,
    CptError,
    DataError,
    Fault,
    Interrupted,
    Preempted,
    RecipeError,
    ResourceError,
    StorageError,
)
from cpt.job import Job, TrainOptions, Weights, launch
from cpt.planning.plan import Plan, Size, make_plan
from cpt.recipe.schedule import schedule_warnings
from cpt.recipe.schema import Recipe
from cpt.resources import choose_launcher, refuse_too_large, world_size
from cpt.rundir import RunDirectory

NOT_IN_IDENTITY = {"train": {"max_steps", "max_epochs", "log_every", "validate_every"}, "model": {"note", "init"}}
"""Keys that do not decide the numbers, of the groups that do; `model.init` goes in as the base's origin."""
VERSIONS = ("cpt-train", "torch", "lightning", "numpy", "tokenizers", "safetensors")


@dataclass(frozen=True)
class Submission:
    """A recipe with all that it needs, found before anything is written.

    Args:
        recipe: The recipe.
        base: Where its weights come from.
        launcher: What starts its processes.
        prepared: Its data.
        plan: What the run will be.
    """

    recipe: Recipe
    base: Base
    launcher: Launcher
    prepared: Prepared
    plan: Plan

    @property
    def identity(self) -> dict[str, Any]:
        """What decides the numbers: the same parts, the same run."""
        recipe = self.recipe.model_dump(mode="json")
        groups = {name: _without(recipe[name], NOT_IN_IDENTITY.get(name, set())) for name in ("model", "optim", "sched", "train")}
        groups["model"]["architecture"] = self.base.architecture.model_dump(mode="json")
        return {**groups, "seed": self.recipe.run.seed, "base": self.base.origin, "data": self.prepared.content}


def make_submission(recipe: Recipe) -> Submission:
    """Finds what `recipe` needs: its base, a launcher that can take it, its data (validated, tokenised, packed) and its plan.

    Raises:
        UserError: Something is missing, invalid or too large.
    """
    base = resolve_base(recipe)
    ranks = world_size(recipe)
    try:
        launcher = choose_launcher(recipe)
    except ResourceError:
        announce(recipe, base, estimate(recipe, base), "")
        raise
    prepared = prepare_data(recipe, base)
    plan = make_plan(recipe, base.architecture, Size(prepared.sequences, prepared.tokens, exact=True), ranks)
    refuse_too_large(recipe, plan)
    for warning in schedule_warnings(recipe.sched, plan.steps) if recipe.train.max_epochs else []:
        say(f"warning: {warning}")
    return Submission(recipe, base, launcher, prepared, plan)


def prepare_data(recipe: Recipe, base: Base) -> Prepared:
    """Validates, tokenises and packs the recipe's data, with a live line."""
    line = StatusLine()

    def progress(stage: str, documents: int, size_bytes: int) -> None:
        line.update(f"{stage}  {documents} documents  {quantity(size_bytes)}B")

    try:
        return prepare(recipe, base.folder, progress)
    finally:
        line.clear()


def estimate(recipe: Recipe, base: Base) -> Plan:
    """The plan of `recipe` before its data is tokenised.

    Raises:
        UserError: Its data is not there, or its source cannot tell how much there is.
    """
    tokens = estimated_tokens(recipe, base.folder)
    if tokens is None:
        raise DataError("data.source", recipe.data.source, "cannot tell how much data there is", "Run cpt prepare where the data is")
    size = Size(math.ceil(tokens / recipe.train.max_length), tokens, exact=False)
    return make_plan(recipe, base.architecture, size, world_size(recipe))


def submit(submission: Submission, run: RunDirectory, recipe_yaml: str) -> None:
    """Runs it to its end, or goes on with the run that is already there.

    Args:
        submission: What to run.
        run: Where.
        recipe_yaml: The recipe as composed, for the run directory.

    Raises:
        RecipeError: The run's name belongs to a run with another identity, or an unfinished run has more steps than the plan.
        Interrupted, Preempted: Stopped by a signal; committed.
        CptError: A worker failed.
    """
    with run.lease() as lease:
        threading.Thread(target=_end_when_lost, args=(lease, run.location), daemon=True).start()
        manifest = _manifest_to_go_on_with(run, submission)
        if manifest is None or not finished(manifest, submission.plan):
            _start(run, submission, recipe_yaml, manifest)
        else:
            say(f"finished already: {manifest['steps']} steps; a larger train.max_steps or train.max_epochs goes on")


def open_run(submission: Submission, member: str | None) -> RunDirectory:
    """The run's directory: `<run.output>/<run.name>`, and `/<member>` in a sweep."""
    recipe = submission.recipe
    if member is not None:
        name = f"{recipe.run.name or recipe.model.name.replace('_', '-') + '-sweep'}/{member.replace('/', '_')}"
    else:
        name = recipe.run.name or rundir.default_name(recipe.model.name, rundir.identity(submission.identity))
    return RunDirectory(recipe.run.output, name)


def announce(recipe: Recipe, base: Base, plan: Plan, name: str) -> None:
    """Says what will run: the model and where it starts from, the data, the plan."""
    start = {"random": "random start: pre-training, not CPT", "base": "from its base"}.get(base.origin, f"from {base.origin}")
    facts = [
        f"cpt {importlib.metadata.version('cpt-train')}",
        f"{recipe.model.name} ({quantity(plan.parameters)}) {start}",
        recipe.data.source,
    ]
    say(" · ".join([*facts, recipe.train.precision, *([name] if name else [])]))
    if recipe.model.note:
        say(f"note  {recipe.model.note}")
    for line in plan.lines(recipe):
        say(line)


def _end_when_lost(lease: storage.Lease, location: str) -> None:
    """Ends this command, and with it its workers, once another writer has taken the run over: it must not commit any more."""
    lease.lost.wait()
    say(f"error: {Fault(location, 'lease', 'was taken over by another writer after a silence of this one', 'Look at that one')}")
    os._exit(EXIT_OURS)


def _manifest_to_go_on_with(run: RunDirectory, submission: Submission) -> dict[str, Any] | None:
    """The manifest of the run that is already there; None where there is none.

    Raises:
        RecipeError: See `submit`.
    """
    manifest = run.manifest()
    if manifest is not None:
        _refuse_other_identity(run, manifest, submission)
        _refuse_fewer_steps(run, manifest, submission.plan)
    return manifest


def _refuse_other_identity(run: RunDirectory, manifest: dict[str, Any], submission: Submission) -> None:
    if manifest["identity"] != rundir.identity(submission.identity):
        raise RecipeError.of(
            Fault("run.name", run.name, f"is a run with another identity: {difference}", "Give the new run another run.name")
            for difference in rundir.difference(manifest["identity_parts"], submission.identity)
        )


def _refuse_fewer_steps(run: RunDirectory, manifest: dict[str, Any], plan: Plan) -> None:
    """An unfinished run cannot end before the step it has reached: its later checkpoints were made under another decay."""
    done = max((step for step, _ in run.committed_checkpoints()), default=0)
    if not finished(manifest, plan) and plan.steps < done:
        where, cure = "train.max_steps, train.max_epochs", f"Ask for at least {done} steps, or give the new run another run.name"
        raise RecipeError(where, f"{plan.steps} steps", f"{run.location} has {done} steps already", cure)


def finished(manifest: dict[str, Any], plan: Plan) -> bool:
    """Whether the run has all the steps that the plan asks for."""
    return manifest["status"] == "completed" and int(manifest["steps"]) >= plan.steps


def _start(run: RunDirectory, submission: Submission, recipe_yaml: str, manifest: dict[str, Any] | None) -> None:
    resume = run.latest_checkpoint(before=submission.plan.steps, warn=say)
    if resume is not None:
        say(f"going on from {resume.name}")
        _say_if_replanned(submission.plan, manifest or {})
    run.write_recipe(recipe_yaml, submission.recipe.model_dump_json(indent=2))
    run.write_manifest(_manifest(submission, manifest or {}))
    try:
        launch(
            _job(run, submission, resume),
            submission.launcher,
            run.job_folder,
            submission.plan.layout.world_size,
            submission.recipe.cluster.nodes,
        )
    except (Interrupted, Preempted):
        run.update_manifest(status="interrupted")  # a worker that was still importing said nothing
        raise
    except CptError:
        with contextlib.suppress(StorageError):  # a full disk is why
            run.update_manifest(status="failed")
        raise


def _say_if_replanned(plan: Plan, manifest: dict[str, Any]) -> None:
    before = manifest.get("plan", {}).get("steps", plan.steps)
    if before != plan.steps:
        say(f"{plan.steps} steps instead of {before}: the learning rate's decay is planned anew, from here on")


def _manifest(submission: Submission, earlier: dict[str, Any]) -> dict[str, Any]:
    """The manifest of a run that starts, or goes on: what was committed stays, what may change on the way is recorded."""
    recipe, parts = submission.recipe, submission.identity
    return (
        rundir.new_manifest(
            identity=rundir.identity(parts),
            identity_parts=parts,
            data=submission.prepared.content,
            versions={name: importlib.metadata.version(name) for name in VERSIONS} | {"python": platform.python_version()},
            parent=submission.base.parent,
        )
        | {key: earlier[key] for key in ("steps", "tokens", "checkpoints") if key in earlier}
        | {
            "plan": submission.plan.to_json(),
            "where": {group: recipe.model_dump(mode="json")[group] for group in ("cluster", "parallel", "checkpoint")},
        }
    )


def rehearse(submission: Submission, run: RunDirectory, recipe_yaml: str) -> None:
    """Writes what would be submitted, the recipe and the job, and starts nothing.

    Raises:
        StorageError: The run is being written.
        RecipeError: See `submit`.
    """
    with run.lease():
        _manifest_to_go_on_with(run, submission)
        resume = run.latest_checkpoint(before=submission.plan.steps, warn=say)
        run.write_recipe(recipe_yaml, submission.recipe.model_dump_json(indent=2))
        run.job_folder.mkdir(parents=True, exist_ok=True)
        _job(run, submission, resume).write(run.job_folder / "job.json")


def _job(run: RunDirectory, submission: Submission, resume: Path | None) -> Job:
    plan, layout = submission.plan, submission.plan.layout
    options = TrainOptions(
        run=run.location,
        prepared=submission.prepared.to_json(),
        total_steps=plan.steps,
        dp_replicate=layout.dp_replicate,
        dp_shard=layout.dp_shard,
        micro_batch=layout.micro_batch,
        activation_checkpointing=layout.activation_checkpointing,
        resume=str(resume) if resume else None,
    )
    return Job("train", weights_of(submission.base), asdict(options), submission.recipe)


def _without(group: dict[str, Any], keys: set[str]) -> dict[str, Any]:
    return {key: value for key, value in group.items() if key not in keys}


def weights_of(base: Base) -> Weights:
    """What a worker needs to know of the base."""
    return Weights(base.kind, base.folder, base.architecture)


def say(text: str) -> None:
    """A line for the person at the terminal."""
    print(text, file=sys.stderr, flush=True)
