"""From a submission to a run: its directory, its one writer, whether it begins, goes on or is done, and its processes."""

from __future__ import annotations

import contextlib
import importlib.metadata
import json
import os
import platform
import re
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from cpt import storage
from cpt.console import say
from cpt.contracts import JobRef
from cpt.errors import CptError, Fault, Interrupted, Preempted, RecipeError, StorageError
from cpt.identity import default_name, difference, identity
from cpt.job import Job, TrainOptions, launch
from cpt.launch.machine import start_time
from cpt.manifest import new_manifest
from cpt.order import Submitted
from cpt.planning.plan import Plan
from cpt.rundir import RunDirectory
from cpt.submission import Submission

VERSIONS = ("cpt-train", "torch", "lightning", "numpy", "tokenizers", "safetensors")


Start = Callable[[Sequence[str], int | None], int]
"""Starts the processes of an argv for a run that goes on from a step (None: from its beginning), waits, returns their exit code."""


def submit(submission: Submission, run: RunDirectory, recipe_yaml: str, start: Start, job: Submitted | None, wait_s: float = 0.0) -> None:
    """Runs it to its end, or goes on with the run that is already there.

    Args:
        submission: What to run.
        run: Where.
        recipe_yaml: The recipe as composed, for the run directory.
        start: Starts its processes.
        job: What this process is part of; None where nobody has noted it.
        wait_s: Seconds to wait for an earlier writer of the run to end.

    Raises:
        RecipeError: The run's name belongs to a run with another identity, or an unfinished run has more steps than the plan.
        Interrupted, Preempted: Stopped by a signal; committed.
        CptError: A worker failed.
    """
    with run.lease(wait_s) as lease, _stopped_when_lost(lease, run.location):
        manifest = manifest_to_go_on_with(run, submission)
        if manifest is None or not finished(manifest, submission.plan):
            _start(run, submission, recipe_yaml, manifest, start, job)
        else:
            say(f"finished already: {manifest['steps']} steps; a larger train.max_steps or train.max_epochs goes on")


def this_process(run: RunDirectory) -> Submitted:
    """The job of a run that trains in the foreground: this process."""
    pid = os.getpid()
    return Submitted.now("local", {}, JobRef(f"{pid}@{start_time(pid)}", queue_name(run.name), str(run.job_folder)))


def queue_name(name: str) -> str:
    """A run's name as queues take it: lowercase letters, digits and dashes, at most 50."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:50].strip("-") or "cpt"


def open_run(submission: Submission, member: str | None) -> RunDirectory:
    """The run's directory: `<run.output>/<run.name>`, and `/<member>` in a sweep."""
    recipe = submission.recipe
    if member is not None:
        name = f"{recipe.run.name or recipe.model.name.replace('_', '-') + '-sweep'}/{member.replace('/', '_')}"
    else:
        name = recipe.run.name or default_name(recipe.model.name, identity(submission.identity))
    return RunDirectory(recipe.run.output, name)


@contextmanager
def _stopped_when_lost(lease: storage.Lease, location: str) -> Iterator[None]:
    """Kills the run's processes once another writer has taken the run over: they must not commit any more.

    Raises:
        StorageError: That has happened.
    """
    over = threading.Event()

    def watch() -> None:
        while not over.is_set():
            if lease.lost.wait(timeout=1.0):
                for _ in range(2):  # the launcher kills on the second
                    signal.raise_signal(signal.SIGINT)
                return

    watcher = threading.Thread(target=watch, daemon=True)
    if storage.is_url(location):  # a local lease cannot be lost
        watcher.start()
    try:
        yield
    finally:
        over.set()
        if lease.lost.is_set():
            raise StorageError(Fault(location, "lease", "was taken over by another writer after a silence of this one", "Look at that one"))


def manifest_to_go_on_with(run: RunDirectory, submission: Submission) -> dict[str, Any] | None:
    """The manifest of the run that is already there; None where there is none.

    Raises:
        RecipeError: See `submit`.
    """
    manifest = run.manifest()
    if manifest is not None:
        refuse_other_identity(run, manifest, submission.identity)
        _refuse_fewer_steps(run, manifest, submission.plan)
    return manifest


def refuse_other_identity(run: RunDirectory, manifest: dict[str, Any], parts: dict[str, Any]) -> None:
    """Refuses to take `run` for another than it is.

    Args:
        run: The run that is there.
        manifest: Its manifest.
        parts: What decides the numbers of the run that is asked for.

    Raises:
        RecipeError: They differ; each difference.
    """
    if manifest["identity"] != identity(parts):
        raise RecipeError.of(
            Fault("run.name", run.name, f"is a run with another identity: {line}", "Give the new run another run.name")
            for line in difference(manifest["identity_parts"], parts)
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


def _start(
    run: RunDirectory, submission: Submission, recipe_yaml: str, manifest: dict[str, Any] | None, start: Start, job: Submitted | None
) -> None:
    resume = run.latest_checkpoint(before=submission.plan.steps, warn=say)
    if resume is not None:
        say(f"going on from {resume.name}")
        _say_if_replanned(submission.plan, manifest or {})
    step = int(resume.name.removeprefix("step-")) if resume else None
    write_records(run, submission, recipe_yaml, manifest, job=job and job.to_json())
    if job is not None:
        job.write(run)
    try:
        launch(make_job(run, submission, resume), lambda argv: start(argv, step), run.job_folder)
    except (Interrupted, Preempted):
        run.update_manifest(status="interrupted")  # a worker that was still importing has not
        raise
    except CptError:
        with contextlib.suppress(StorageError):  # a full disk is why
            run.update_manifest(status="failed")
        raise


def write_records(run: RunDirectory, submission: Submission, recipe_yaml: str, earlier: dict[str, Any] | None, **changes: Any) -> None:
    """Writes what a run is, before it begins or goes on: its recipe, and its manifest with `changes`."""
    manifest = _manifest(submission, earlier or {}, _changes(run, submission)) | changes
    run.write_recipe(recipe_yaml, json.dumps(submission.recipe.kept(), indent=2))
    run.write_manifest(manifest)


def _say_if_replanned(plan: Plan, manifest: dict[str, Any]) -> None:
    before = manifest.get("plan", {}).get("steps", plan.steps)
    if before != plan.steps:
        say(f"{plan.steps} steps instead of {before}: the learning rate's decay is planned anew, from here on")


def _manifest(submission: Submission, earlier: dict[str, Any], changes: list[str]) -> dict[str, Any]:
    """The manifest of a run that begins, or goes on: what was committed stays, what has changed on the way is recorded."""
    parts = submission.identity
    manifest = new_manifest(
        identity=identity(parts),
        identity_parts=parts,
        data=submission.prepared.content,
        versions={name: importlib.metadata.version(name) for name in VERSIONS} | {"python": platform.python_version()},
        parent=submission.base.parent,
    )
    manifest |= {key: earlier[key] for key in ("steps", "tokens", "checkpoints") if key in earlier}
    history = [*earlier.get("changes", []), *([{"step": earlier["steps"], "difference": changes}] if earlier and changes else [])]
    return manifest | {"plan": submission.plan.to_json(), "changes": history}


def _changes(run: RunDirectory, submission: Submission) -> list[str]:
    """What the recipe asks for now and did not when the run was last started; the identity is the same."""
    before = run.recipe()
    return difference(before, submission.recipe.kept()) if before else []


def make_job(run: RunDirectory, submission: Submission, resume: Path | None) -> Job:
    """What the run's workers are told.

    Args:
        run: The run.
        submission: What to run.
        resume: The checkpoint that it goes on from; None: it begins.
    """
    plan, layout = submission.plan, submission.plan.layout
    options = TrainOptions(
        run=run.location,
        run_name=run.name,
        prepared=submission.prepared.to_json(),
        total_steps=plan.steps,
        dp_replicate=layout.dp_replicate,
        dp_shard=layout.dp_shard,
        micro_batch=layout.micro_batch,
        activation_checkpointing=layout.activation_checkpointing,
        resume=str(resume) if resume else None,
    )
    return Job("train", submission.base.weights, asdict(options), submission.recipe)
