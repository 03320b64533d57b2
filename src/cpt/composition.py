"""The door: what a person types becomes one frozen, checked `Recipe`. The only file that knows Hydra.

Hydra composes the groups (Compose API, its own override grammar); after that there is a plain tree. Nothing is ever instantiated. All
faults of a command come at once, so overrides are judged here before Hydra, which stops at the first, sees them.

`data.train=FILE`, typed while the recipe learns from cpt's own sample, means `data=jsonl`: the source changes and the sample's validation
sets go, as a person who names a file expects. A `data=` or `data.source=` of their own decides otherwise.
"""

from __future__ import annotations

import copy
import itertools
import os
import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from hydra import compose as hydra_compose
from hydra import initialize_config_module
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Glob, Override, OverrideType, Quote, QuotedString, ValueType
from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from cpt.errors import Fault, RecipeError
from cpt.recipe import grid
from cpt.recipe.build import build
from cpt.recipe.changes import Change, apply, keys_given, merged
from cpt.recipe.file import RecipeFile
from cpt.recipe.gate import check_tree, write_yaml
from cpt.recipe.interpolation import from_environment, resolve
from cpt.recipe.library import Library
from cpt.recipe.schema import Recipe

_KINDS = {OverrideType.CHANGE: "set", OverrideType.ADD: "add", OverrideType.FORCE_ADD: "force", OverrideType.DEL: "delete"}
_HYDRA_CURES = {
    "hydra/launcher": "Use launcher=NAME",
    "hydra/sweeper": "Use -m with comma lists",
    "hydra.run.dir": "Use run.output and run.name",
    "hydra.sweep.dir": "Use run.output and run.name",
    "hydra.searchpath": "Use --config-dir DIR",
}
_PLAIN_SWEEPS = (ValueType.CHOICE_SWEEP, ValueType.SIMPLE_CHOICE_SWEEP, ValueType.RANGE_SWEEP)


@dataclass(frozen=True)
class Composed:
    """A recipe and how it came about.

    Args:
        recipe: The typed recipe.
        tree: The same as a plain tree, interpolations resolved.
        yaml: The tree as YAML with its interpolations unresolved: what a run keeps.
        overrides: What was typed.
        warnings: What is allowed but not advised.
    """

    recipe: Recipe
    tree: dict[str, Any]
    yaml: str
    overrides: tuple[str, ...]
    warnings: tuple[str, ...]


def compose(overrides: Sequence[str] = (), recipe_file: str | Path | None = None, config_dir: str | Path | None = None) -> Composed:
    """The recipe that `overrides` describe.

    Args:
        overrides: Hydra's: `group=option`, `key=value`, `+key=value`, `++key=value`, `~key`.
        recipe_file: A recipe to start from instead of the defaults: ours (a full tree) or Amazon's.
        config_dir: A folder with further groups and options.

    Raises:
        RecipeError: Every fault found.
    """
    return _Door(recipe_file, config_dir).compose(tuple(overrides))


def compose_grid(
    overrides: Sequence[str], recipe_file: str | Path | None = None, config_dir: str | Path | None = None
) -> list[tuple[str, Composed]]:
    """Every member of the grid that comma lists, `choice()`, `range()` and `glob()` span, the last one varying fastest.

    Each is named by the overrides that vary, joined by commas, fit for a folder's name.

    Raises:
        RecipeError: Every fault of every member, each once; more than 10,000 members.
    """
    door = _Door(recipe_file, config_dir)
    members: list[tuple[str, Composed]] = []
    faults: dict[Fault, None] = {}
    for label, texts in grid.members(door.axes(overrides)):
        try:
            members.append((label, door.compose(texts)))
        except RecipeError as error:
            faults.update(dict.fromkeys(error.faults))
    if faults:
        raise RecipeError.of(faults)
    return members


def job_yaml(composed: Composed, resolve: bool = False) -> str:
    """The recipe as YAML: what `--cfg job` prints and `--recipe` reads."""
    return write_yaml(composed.tree) if resolve else composed.yaml


def groups(config_dir: str | Path | None = None) -> dict[str, list[str]]:
    """The options of each group."""
    return Library.open(Path(config_dir) if config_dir else None).groups()


class _Door:
    """Composes any number of recipes from one start, each choice of groups by Hydra once."""

    def __init__(self, recipe_file: str | Path | None, config_dir: str | Path | None) -> None:
        self.library = Library.open(Path(config_dir) if config_dir else None)
        self.file = RecipeFile.read(Path(recipe_file)) if recipe_file else None
        self.cache: dict[tuple[str, ...], dict[str, Any]] = {}

    def compose(self, texts: tuple[str, ...]) -> Composed:
        choices, changes, faults = self._judge(texts)
        tree = self._start(choices, changes)
        faults += apply(tree, changes, self.library.options)
        try:
            resolved = _resolved(tree)
            if all("." in fault.where for fault in faults):  # a recipe whose groups are mistyped is not the one that was meant
                recipe, warnings = build(resolved)
        except RecipeError as error:
            faults += error.faults
        if faults:
            raise RecipeError.of(dict.fromkeys(faults))
        recipe = recipe.read_from_environment(from_environment(tree, resolved))
        return Composed(recipe, resolved, write_yaml(tree), texts, warnings)

    def axes(self, texts: Sequence[str]) -> list[list[str]]:
        """For each override of a grid, the overrides that it stands for."""
        faults: list[Fault] = []
        axes = [self._axis(text, faults) for text in texts]
        if faults:
            raise RecipeError.of(faults)
        return axes

    def _judge(self, texts: Sequence[str]) -> tuple[tuple[str, ...], list[Change], list[Fault]]:
        """Splits overrides into choices of groups and changes of values; those at fault are left out."""
        choices: list[str] = []
        changes: list[Change] = []
        faults: list[Fault] = []
        for text in texts:
            override = _parse(text)
            if isinstance(override, Fault):
                faults.append(override)
            elif fault := _refused(override, text) or _sweep_fault(override, text, self.library):
                faults.append(fault)
            elif override.key_or_group not in self.library.options or isinstance(override.value(), dict):
                changes.append(Change(_KINDS[override.type], override.key_or_group, override.value(), text))  # type: ignore[arg-type]
            elif fault := self._choice_fault(override, text):
                faults.append(fault)
            else:
                choices.append(text)
        return tuple(choices), changes, faults

    def _choice_fault(self, override: Override, text: str) -> Fault | None:
        group, value = override.key_or_group, override.value()
        if override.type is OverrideType.DEL:
            return Fault(group, text, "a recipe needs each of its groups", f"Use {group}={'[]' if group == 'logger' else 'OPTION'}")
        if override.type is OverrideType.FORCE_ADD or (override.type is OverrideType.ADD and group in self.library.core_groups):
            return Fault(group, text, "the recipe has this group already", f"Use {text.lstrip('+')}")
        if isinstance(value, list) and group != "logger":
            return Fault(group, text, "takes one option", f"Use {group}={value[0] if value else 'OPTION'}")
        if self.file is not None and group == "experiment":
            return Fault(group, text, "an experiment is a whole recipe and cannot be laid over a recipe file", "Use one of the two")
        options = ["null" if option is None else str(option) for option in (value if isinstance(value, list) else [value])]
        return next(filter(None, (self.library.option_fault(group, option) for option in options)), None)

    def _start(self, choices: tuple[str, ...], changes: Sequence[Change]) -> dict[str, Any]:
        """The tree before changes: its groups as chosen, in the order of the schema."""
        tree = self._chosen(choices)
        keys = set(keys_given(changes))
        from_sample = isinstance(tree.get("data"), dict) and tree["data"].get("source") == "sample"
        if from_sample and "data.train" in keys and "data.source" not in keys and "data" not in map(_group, choices):
            tree = self._chosen((*choices, "data=jsonl"))
        return copy.deepcopy({key: tree[key] for key in [*Recipe.model_fields, *tree] if key in tree})

    def _chosen(self, choices: tuple[str, ...]) -> dict[str, Any]:
        if choices not in self.cache:
            self.cache[choices] = self._from_file(self.file, choices) if self.file else _hydra_tree(choices, self.library)
        return self.cache[choices]

    def _from_file(self, file: RecipeFile, choices: tuple[str, ...]) -> dict[str, Any]:
        """The file's tree with the subtrees of chosen groups replaced, composed beside the file's own model."""
        if file.whole and not choices:
            return file.tree
        chosen = set(map(_group, choices))
        known = {group: option for group, option in file.options.items() if option in self.library.options[group]}
        implied = [f"{group}={option}" for group, option in known.items() if group not in chosen]
        composed = _hydra_tree((*implied, *choices), self.library)
        if file.whole:
            return file.tree | {group: composed[group] for group in chosen if group in composed}
        tree: dict[str, Any] = merged(composed, {group: values for group, values in file.tree.items() if group not in chosen})
        return tree

    def _axis(self, text: str, faults: list[Fault]) -> list[str]:
        """The overrides that `text` stands for in a grid; its fault is appended to `faults`."""
        override = _parse(text)
        if isinstance(override, Fault):
            faults.append(override)
        elif not override.is_sweep_override():
            return [text]
        elif override.value_type is ValueType.INTERVAL_SWEEP:
            faults.append(_interval_fault(override, text))
        else:
            key = text.partition("=")[0]
            values = dict.fromkeys(itertools.islice(self._values(override), grid.MAX_MEMBERS + 1))
            axis = [f"{key}={value}" for value in values]
            if not axis:
                faults.append(Fault(override.key_or_group, text, "stands for nothing", "Name what there is"))
            return axis
        return []

    def _values(self, override: Override) -> Iterator[str]:
        if override.value_type in _PLAIN_SWEEPS:
            yield from override.sweep_string_iterator()
        elif isinstance(pattern := override.value(), Glob):
            yield from pattern.filter(sorted(self.library.options.get(override.key_or_group, ())))


def _group(choice: str) -> str:
    return choice.lstrip("+").partition("=")[0]


def _resolved(tree: dict[str, Any]) -> dict[str, Any]:
    """`tree` with its interpolations resolved; the gate is passed before and after."""
    check_tree(tree, "recipe")
    resolved = resolve(tree, os.environ)
    check_tree(resolved, "recipe")
    return resolved


def _hydra_tree(choices: Sequence[str], library: Library) -> dict[str, Any]:
    """What Hydra composes from `choices`, unresolved."""
    further = [QuotedString(f"file://{shelf.root}", Quote.single).with_quotes() for shelf in library.shelves[1:]]
    try:
        with initialize_config_module("cpt.conf", job_name="cpt", version_base="1.3"):
            composed = hydra_compose("train", [*choices, f"hydra.searchpath=[{','.join(further)}]"])
        tree = OmegaConf.to_container(composed, resolve=False)
    except (HydraException, OmegaConfBaseException, YAMLError, ValueError) as error:
        message = " ".join(str(error.__cause__ or error).split())
        raise RecipeError(Fault("recipe", " ".join(choices), f"Hydra cannot compose it: {message}", "Mend the file it names")) from None
    assert isinstance(tree, dict)
    return tree  # type: ignore[return-value]


@lru_cache(maxsize=4096)
def _parse(text: str) -> Override | Fault:
    """`text` in Hydra's grammar, or what is wrong with it and how to quote it."""
    try:
        return OverridesParser.create().parse_override(text)
    except (HydraException, RecursionError):
        pass
    key, equals, value = text.partition("=")
    if not equals:
        return Fault("override", text, "an override is group=option or key=value", "cpt train --help lists groups and options")
    if value[:1] in "[{" or not re.fullmatch(r"[~+]{0,2}[\w./@$-]+", key):
        return Fault(key, text, "Hydra's grammar cannot read this override", "Put quotes around the parts that hold special characters")
    quoted = f"{key}={QuotedString(value, Quote.double).with_quotes()}"
    return Fault(key, value, "Hydra's grammar cannot read this value without quotes", f"Write {shlex.quote(quoted)}")


def _refused(override: Override, text: str) -> Fault | None:
    """The fault of an override that no single recipe may hold."""
    key = override.key_or_group
    if re.split(r"[./@]", key)[0] == "hydra":
        return Fault(key, text, "Hydra's own configuration is not open to recipes", _HYDRA_CURES.get(key, "Remove it"))
    if override.package is not None:
        return Fault(f"{key}@{override.package}", text, "a group's place in the recipe is fixed", f"Use {key}=OPTION")
    return None


def _sweep_fault(override: Override, text: str, library: Library) -> Fault | None:
    """The fault of several values where a single recipe is composed."""
    key, value = override.key_or_group, text.partition("=")[2]
    if not override.is_sweep_override():
        return None
    if override.value_type is ValueType.INTERVAL_SWEEP:
        return _interval_fault(override, text)
    takes_lists = "(" not in value and (key == "logger" or key not in library.options)
    cure = f"Add -m to run each, or write {key}=[{value}] for a list" if takes_lists else "Add -m to run each"
    return Fault(key, value, "one run takes one value", cure)


def _interval_fault(override: Override, text: str) -> Fault:
    rule = "an interval needs a random or Optuna sweeper, and none is installed"
    return Fault(override.key_or_group, text, rule, "Use -m with choice(...) or range(...)")
