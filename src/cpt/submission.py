"""A recipe with all that it needs: base, data, plan. Found good before anything is written or started."""

from __future__ import annotations

import importlib.metadata
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cpt import plugins
from cpt.base import Base, is_remote, resolve_base
from cpt.console import StatusLine, quantity, say
from cpt.cores import cores
from cpt.data.prepare import Prepared, estimated_tokens, prepare
from cpt.errors import DataError, Fault, PluginError, RecipeError, ResourceError
from cpt.planning.plan import Plan, Size, make_plan
from cpt.recipe.schedule import schedule_warnings
from cpt.recipe.schema import Recipe
from cpt.resources import Chosen, choose_launcher, refuse_remote_nodes, refuse_too_large, world_size

NOT_IN_IDENTITY = {"train": {"max_steps", "max_epochs", "log_every", "validate_every"}, "model": {"note", "init"}}
"""Keys that do not decide the numbers, of the groups that do; `model.init` goes in as the base's origin."""


@dataclass(frozen=True)
class Submission:
    """A recipe with all that it needs, found before anything is written.

    Args:
        recipe: The recipe.
        base: Where its weights come from.
        prepared: Its data.
        plan: What the run will be.
    """

    recipe: Recipe
    base: Base
    prepared: Prepared
    plan: Plan

    @property
    def identity(self) -> dict[str, Any]:
        """What decides the numbers: the same parts, the same run."""
        recipe = self.recipe.model_dump(mode="json")
        groups = {name: _without(recipe[name], NOT_IN_IDENTITY.get(name, set())) for name in ("model", "optim", "sched", "train")}
        groups["model"]["architecture"] = self.base.architecture.model_dump(mode="json")
        return {**groups, "seed": self.recipe.run.seed, "base": self.base.origin, "data": self.prepared.content}


def find_launcher(recipe: Recipe) -> Chosen:
    """The launcher that will take `recipe`; where none can, the plan is said first, so that it is clear what was asked for.

    Raises:
        ResourceError: See `cpt.resources.choose_launcher`.
        PluginError: Every fault of every plugin that the recipe names, and of its options.
    """
    _refuse_plugins(recipe, ("data_sources", "launchers", "loggers"))
    try:
        return choose_launcher(recipe)
    except ResourceError:
        if not is_remote(recipe.model.init):  # a model is not fetched only to say how long it would train
            base = resolve_base(recipe)
            announce(recipe, base, estimate(recipe, base), "")
        raise


def make_submission(recipe: Recipe, fingerprints: Mapping[str, str] | None = None, processes: int | None = None) -> Submission:
    """Finds what `recipe` needs: its base, its data (validated, tokenised, packed) and its plan.

    Args:
        recipe: The recipe.
        fingerprints: Of its data sets by name, where another process has validated them.
        processes: Ranks on each node, where that was planned elsewhere; None: what the recipe and this machine say.

    Raises:
        UserError: Something is missing, invalid or too large.
    """
    check_recipe(recipe)
    base = resolve_base(recipe)
    return submission_of(recipe, base, prepare_data(recipe, base, fingerprints), processes)


def check_recipe(recipe: Recipe) -> None:
    """Refuses what no base and no data could make good.

    Raises:
        RecipeError, PluginError, ResourceError: See `make_submission`.
    """
    refuse_remote_nodes(recipe)
    _refuse_plugins(recipe, ("loggers",))  # the data's source is loaded with the data, and an agent has no need of the launcher
    if recipe.eval.prompt == "":
        raise RecipeError("eval.prompt", '""', "has no text to continue", "Give a text, or null for the beginning of a validation document")


def _refuse_plugins(recipe: Recipe, kinds: Sequence[plugins.Kind]) -> None:
    named = {
        "data_sources": {recipe.data.source: recipe.data.options},
        "launchers": {recipe.launcher.name: recipe.launcher.options} if recipe.launcher.name != "auto" else {},
        "loggers": recipe.logger,
    }
    keys = {"data_sources": "data.source", "launchers": "launcher", "loggers": "logger"}
    faults: list[Fault] = []
    for kind in kinds:
        for name, options in named[kind].items():
            try:
                plugins.load(kind, name, options, keys[kind])
            except PluginError as error:
                faults += error.faults
    if faults:
        raise PluginError.of(faults)


def submission_of(recipe: Recipe, base: Base, prepared: Prepared, processes: int | None = None) -> Submission:
    """The submission of a recipe whose base and data were found; see `make_submission`.

    Raises:
        RecipeError, ResourceError: The plan is invalid, or too large.
    """
    size = Size(prepared.sequences, prepared.tokens, exact=True)
    ranks = recipe.cluster.nodes * processes if processes else world_size(recipe)
    plan = make_plan(recipe, base.architecture, size, ranks)
    refuse_too_large(recipe, plan)
    for warning in _warnings(recipe, prepared, plan):
        say(f"warning: {warning}")
    return Submission(recipe, base, prepared, plan)


def _warnings(recipe: Recipe, prepared: Prepared, plan: Plan) -> Iterator[str]:
    """What only the data and the plan can tell."""
    if recipe.train.max_epochs:  # `compose` has warned where max_steps alone decides
        yield from schedule_warnings(recipe.sched, plan.steps)
    for name, documents in prepared.validation.items():
        if documents.store.fingerprint == prepared.train.store.fingerprint and not prepared.holds_out:
            yield f"data.validation: {name} is the training data itself: its loss says nothing about unseen text"


def prepare_data(recipe: Recipe, base: Base, fingerprints: Mapping[str, str] | None = None) -> Prepared:
    """Validates, tokenises and packs the recipe's data, with a live line."""
    line = StatusLine()

    def progress(stage: str, documents: int, size_bytes: int) -> None:
        line.update(f"{stage}  {documents} documents  {quantity(size_bytes)}B")

    try:
        return prepare(recipe, base.folder, progress, fingerprints, cores())
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


def _without(group: dict[str, Any], keys: set[str]) -> dict[str, Any]:
    return {key: value for key, value in group.items() if key not in keys}
