"""The verbs as functions: what the command line calls, and notebooks may. Torch-free; work that needs torch is a process of its own."""

from __future__ import annotations

import shlex
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from cpt import composition, engines, handover, jobs, storage, submission
from cpt import submit as submitting
from cpt.base import Base, open_model, resolve_base
from cpt.contracts import NoOptions
from cpt.data import jsonl
from cpt.data.prepare import check_vocabulary, has_tokenizer, store_root
from cpt.data.sources import JsonlSource
from cpt.data.store import build_store
from cpt.data.tokenizer import TextTokenizer, bytes_tokenizer, load_tokenizer
from cpt.errors import DataError, Fault, StorageError, UserError, one_line
from cpt.job import CRASHES, Job, launch
from cpt.launch.processes import Processes
from cpt.order import Submitted
from cpt.planning.plan import Plan
from cpt.preparing import tokenise_elsewhere
from cpt.recipe.schema import Recipe
from cpt.resources import LOCAL, Chosen, world_size
from cpt.rundir import RunDirectory
from cpt.storage.remote import reported
from cpt.storage.scratch import put_in_place, scratch_beside

DEFAULT_WINDOW = 2048
"""Tokens in a window of `evaluate` on a bare Hugging Face folder, where its positions allow that many."""


@dataclass(frozen=True)
class Run:
    """A run and what came of it.

    Args:
        location: Its folder or URL.
        manifest: Its manifest.json; empty after a dry run.
        job: The job that does it elsewhere, if one was submitted.
        written_to: After a dry run: the folder of what would be submitted.
    """

    location: str
    manifest: Mapping[str, Any]
    job: Submitted | None = None
    written_to: str | None = None

    @classmethod
    def at(cls, location: str) -> Run:
        """The run that is there, as it stands now."""
        return cls(location, RunDirectory.at(location).manifest() or {})

    @property
    def summary(self) -> dict[str, dict[str, Any]]:
        """`{SET: {before, after, change, interval, verdict}}`, losses in nats a token."""
        return dict(self.manifest.get("summary") or {})

    def lines(self) -> list[str]:
        """The closing summary for a person."""
        if self.written_to is not None:
            return [f"dry run: what would be submitted is in {self.written_to}; nothing was started"]
        if self.job is not None:
            submitted = f"submitted  {self.job.launcher} {self.job.id} → {self.location}"
            return [submitted, f"      follow: {shlex.join(['cpt', 'jobs', 'wait', self.location])}"]
        if not self.summary:
            return [f"{self.manifest.get('status')}  {self.manifest.get('steps', 0)} steps → {self.location}"]
        lines = [f"done  {self.manifest['steps']} steps → {self.location}"]
        width = max((len(name) for name in self.summary), default=0)
        for name, row in self.summary.items():
            figures = f"{row['before']:.3f} → {row['after']:.3f}  {row['verdict']:<6} ({row['change']:+.3f}{_spread(row['interval'])})"
            lines.append(f"      {name:<{width}} {figures}")
        samples = RunDirectory.at(self.location).samples()
        lines += [
            f"      {sample['name']:<{width}} {one_line(sample['prompt'][-40:] + '│' + sample['text'])}"
            for sample in samples[:1] + samples[-1:]
        ]
        words = [line[:40] for sample in samples[-1:] for line in sample["prompt"].splitlines() if line.strip()]
        prompt = words[0] if words else "The"
        return [*lines, f"      go on: {shlex.join(['cpt', 'generate', self.location, '--prompt', prompt])}"]


def _spread(interval: Sequence[float] | None) -> str:
    return f" ± {(interval[1] - interval[0]) / 2:.3f}" if interval else ", one document: no interval"


def compose(overrides: Sequence[str] = ()) -> Recipe:
    """The recipe that Hydra overrides describe, as on the command line.

    Raises:
        RecipeError: Every fault found.

    Example:
        >>> compose(["optim.lr=1e-5"]).optim.lr
        1e-05
    """
    return composition.compose([overrides] if isinstance(overrides, str) else overrides).recipe


def train(recipe: Recipe, *, recipe_yaml: str | None = None, member: str | None = None, dry_run: bool = False) -> Run:
    """Composed to trained: checks everything, prints the plan on stderr, trains, or goes on with the run that is already there.

    A recipe for other machines is handed to its launcher; the run that comes back is then underway.

    Args:
        recipe: From `compose`.
        recipe_yaml: The recipe as composed, to be kept beside the typed one.
        member: The label of this member of a sweep.
        dry_run: Write what would be submitted, and start nothing.

    Raises:
        UserError: Something for the user to mend.
        Interrupted, Preempted: Stopped by a signal; what is committed is intact.
    """
    chosen = submission.find_launcher(recipe)
    recipe_yaml = recipe_yaml or yaml.safe_dump(recipe.kept(), sort_keys=False)
    if chosen.launcher.takes_recipe:
        return _train_elsewhere(recipe, recipe_yaml, chosen, dry_run)
    found = submission.make_submission(recipe)
    run = submitting.open_run(found, member)
    submission.announce(recipe, found.base, found.plan, run.name)
    delivery = handover.Delivery(run, found, recipe_yaml)
    if dry_run:
        return Run(run.location, {}, written_to=handover.rehearse(delivery, chosen))
    jobs.remember(run)
    if not chosen.is_local:
        return Run(run.location, run.manifest() or {}, job=handover.hand_over(delivery, chosen))
    processes = Processes(world_size(recipe))
    submitting.submit(found, run, recipe_yaml, lambda argv, _step: processes.run(argv), submitting.this_process(run))
    return Run.at(run.location)


def _train_elsewhere(recipe: Recipe, recipe_yaml: str, chosen: Chosen, dry_run: bool) -> Run:
    """Hands the recipe to another engine."""
    if dry_run:
        run = engines.recipe_run(recipe)
        return Run(run.location, {}, written_to=handover.render(engines.recipe_task(recipe, run), chosen, run.job_folder))
    run, job = engines.hand_over_recipe(recipe, recipe_yaml, chosen)
    jobs.remember(run)
    return Run(run.location, run.manifest() or {}, job=job)


def validate(locations: str | Sequence[str]) -> jsonl.Report:
    """Holds JSONL files (paths, globs, URLs) against the data rules; every fault with its line and cure."""
    return jsonl.validate(locations)


def prepare(recipe: Recipe) -> dict[str, Any]:
    """Validates, tokenises, stores and packs the recipe's data; `train` uses the same store. A launcher that the recipe names tokenises."""
    base = resolve_base(recipe)
    if recipe.launcher.name not in ("auto", LOCAL):
        tokenise_elsewhere(recipe, base, submission.find_launcher(recipe))
    prepared = submission.prepare_data(recipe, base)
    return {
        "documents": prepared.documents,
        "tokens": prepared.tokens,
        "sequences": prepared.sequences,
        "store": str(prepared.train.store.folder),
        "fill": round(prepared.plan.packing.fill, 4),
        "validation": {name: len(documents) for name, documents in prepared.validation.items()},
    }


def plan(recipe: Recipe) -> Plan:
    """Steps, tokens, layout, memory, time and price of `recipe`, from the size of its data: nothing is read or tokenised."""
    return submission.estimate(recipe, resolve_base(recipe))


def evaluate(model: str, sets: Mapping[str, str], *, checkpoint: str | None = None, max_length: int | None = None) -> dict[str, Any]:
    """Loss, perplexity and bits a byte of a run, checkpoint or Hugging Face folder on JSONL files.

    Args:
        model: Its location.
        sets: File by name.
        checkpoint: A step, `best` or `last` of a run; None: final, else the last.
        max_length: Tokens in a window; None: the run's, or for a bare folder the smaller of its positions and 2,048.

    Raises:
        UserError: A file or the model is missing or invalid.
    """
    base = open_model(model, checkpoint)
    length = max_length if max_length is not None else _window(base)
    if not 2 <= length <= base.architecture.positions:
        raise UserError("max_length", str(length), f"must lie between 2 and the model's {base.architecture.positions} positions")
    tokenizer = _tokenizer(base)
    source = JsonlSource(NoOptions())
    stores = {
        name: build_store(source.documents([file]), source.fingerprint([file]), tokenizer, store_root(None)) for name, file in sets.items()
    }
    if empty := [
        name for name, store in stores.items() if not (store.everything().predicted and store.everything().text_sizes_bytes.sum())
    ]:
        raise DataError.of(Fault(f"{name}={sets[name]}", "", "holds no token to predict", "Add text") for name in empty)
    options = {"sets": {name: str(store.folder) for name, store in stores.items()}, "max_length": length}
    results: dict[str, Any] = _work("evaluate", base, options)
    return results


def _window(base: Base) -> int:
    """Tokens in a window where the caller leaves them open: the run's, or what a bare folder's positions allow."""
    recipe = RunDirectory.at(base.parent).recipe() if base.parent else {}
    return int(recipe["train"]["max_length"]) if recipe else min(base.architecture.positions, DEFAULT_WINDOW)


def generate(model: str, prompt: str, *, checkpoint: str | None = None, max_tokens: int = 128, greedy: bool = False, seed: int = 0) -> str:
    """The prompt's continuation by a run, checkpoint or Hugging Face folder; see `evaluate` for the arguments."""
    base = open_model(model, checkpoint)
    with tempfile.TemporaryDirectory() as folder:
        options = {"prompt": prompt, "max_tokens": max_tokens, "greedy": greedy, "seed": seed, **_saved_tokenizer(base, Path(folder))}
        return str(_work("generate", base, options))


def export(model: str, to: str, *, checkpoint: str | None = None, dtype: str = "float32") -> str:
    """Writes a run or checkpoint as a Hugging Face folder at `to`, a folder or URL, and returns it.

    Raises:
        UserError: The model is missing or invalid, or `to` cannot be written.
    """
    storage.check_location(to, "--to")
    _refuse_to_replace(to)
    base = open_model(model, checkpoint)
    remote, target = storage.is_url(to), storage.local_path("export" if storage.is_url(to) else to)
    with reported(to), tempfile.TemporaryDirectory() if remote else scratch_beside(target) as scratch:
        folder = Path(scratch) / target.name
        folder.mkdir()
        _work("export", base, {"folder": str(folder), "dtype": dtype, **_saved_tokenizer(base, folder)})
        if remote:
            storage.publish_folder(folder, to)
        else:
            put_in_place(folder, target)
    return to


def _refuse_to_replace(to: str) -> None:
    """What stands there goes when a folder is published; only an earlier model may."""
    if not storage.is_url(to) and storage.local_path(to).is_file():
        raise StorageError("--to", to, "is a file", "Name a folder")
    if (names := storage.list_names(to)) and "config.json" not in names:
        raise StorageError("--to", to, f"holds {names[0]}, and no model to replace", "Name a folder of its own")


def _saved_tokenizer(base: Base, folder: Path) -> dict[str, Any]:
    """Saves the base's tokenizer into `folder`; what a worker needs to open it."""
    tokenizer = _tokenizer(base)
    tokenizer.save(folder)
    return {"tokenizer": str(folder), "eos_id": tokenizer.eos_id, "bos_id": tokenizer.bos_id}


def _tokenizer(base: Base) -> TextTokenizer:
    """The model's own tokenizer, else bytes.

    Raises:
        DataError: It cannot be read, or has more ids than the model has rows.
    """
    assert base.folder is not None
    tokenizer = load_tokenizer(base.folder) if has_tokenizer(base.folder) else bytes_tokenizer()
    check_vocabulary(tokenizer, base.architecture.vocabulary)
    return tokenizer


def _work(verb: Any, base: Base, options: dict[str, Any]) -> Any:
    """Runs one process of this machine to its result."""
    folder = Path(tempfile.mkdtemp(prefix="cpt-job-"))
    try:
        return launch(Job(verb, base.weights, options), Processes(1).run, folder)
    finally:
        if not list(folder.glob(CRASHES)):  # the message of a crash names its file
            shutil.rmtree(folder)
