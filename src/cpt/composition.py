"""The door: what a person types becomes one frozen, checked `Recipe`, or the axes of a sweep of them.

With `cpt.overrides`, which reads its grammar, the only file that knows Hydra.

Hydra composes the groups (Compose API, its own override grammar); after that there is a plain tree. Nothing is ever instantiated. All
faults of a command come at once, so overrides are judged here before Hydra, which stops at the first, sees them.

`data.train=FILE`, typed while the recipe learns from cpt's own sample, means `data=jsonl`: the source changes and the sample's validation
sets go, as a person who names a file expects. A `data=` or `data.source=` of their own decides otherwise.
"""

from __future__ import annotations

import copy
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from hydra import compose as hydra_compose
from hydra import initialize_config_module
from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.types import Override, OverrideType, Quote, QuotedString
from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import ValidationError
from yaml import YAMLError

from cpt.contracts import Choices, Interval
from cpt.errors import Fault, RecipeError
from cpt.overrides import axis, parse, refused, sweep_fault
from cpt.recipe.build import build
from cpt.recipe.changes import Change, apply, keys_given, merged
from cpt.recipe.file import RecipeFile
from cpt.recipe.gate import check_tree, write_yaml
from cpt.recipe.interpolation import from_environment, resolve
from cpt.recipe.library import Library
from cpt.recipe.schema import Recipe, Sweeper

_KINDS = {OverrideType.CHANGE: "set", OverrideType.ADD: "add", OverrideType.FORCE_ADD: "force", OverrideType.DEL: "delete"}
OF_THE_WHOLE_SWEEP = ("sweeper", "launcher", "run.name", "run.output")
"""Groups and keys that cannot vary within a sweep."""


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


def open_sweep(overrides: Sequence[str], recipe_file: str | Path | None = None, config_dir: str | Path | None = None) -> SweptRecipe:
    """What `overrides` with comma lists, `choice()`, `range()`, `glob()` or `interval()` span; see `compose`.

    Raises:
        RecipeError: Every fault of the axes, or of the sweeper's settings.
    """
    door = _Door(recipe_file, config_dir)
    words, axes = door.axes(overrides)
    swept = SweptRecipe(door, words, axes)
    try:
        swept.settings = door.sweeper(swept.fixed)
    except (RecipeError, ValidationError):
        swept.compose(swept.first)  # says so, and what else is wrong
        raise
    return swept


class SweptRecipe:
    """Many recipes that differ on axes.

    Attributes:
        fixed: The overrides that all have, in the order typed.
        axes: What varies, by the key as typed before `=`; nothing that has one value only.
        settings: The group `sweeper`.
    """

    settings: Sweeper

    def __init__(self, door: _Door, words: Sequence[str], axes: Mapping[str, Choices | Interval]) -> None:
        self._door, self._words, self.axes = door, tuple(words), axes
        self.fixed = tuple(word for word in words if word.partition("=")[0] not in axes)

    @property
    def typed(self) -> dict[str, str]:
        """Each axis as it was typed after `=`."""
        return {key: text for key, _, text in (word.partition("=") for word in self._words) if key in self.axes}

    @property
    def first(self) -> dict[str, str]:
        """The first value of each axis."""
        return {key: axis.values[0] if isinstance(axis, Choices) else str(axis.low) for key, axis in self.axes.items()}

    def overrides(self, values: Mapping[str, str]) -> tuple[str, ...]:
        """The overrides of the member with `values` on the axes."""
        keys = [word.partition("=")[0] for word in self._words]
        return tuple(f"{key}={values[key]}" if key in values else word for key, word in zip(keys, self._words, strict=True))

    def compose(self, values: Mapping[str, str]) -> Composed:
        """The recipe of the member with `values` on the axes.

        Raises:
            RecipeError: Every fault found.
        """
        return self._door.compose(self.overrides(values))


def job_yaml(composed: Composed, resolve: bool = False) -> str:
    """The recipe as YAML: what `--cfg job` prints and `--recipe` reads."""
    return write_yaml(composed.tree) if resolve else composed.yaml


def groups(config_dir: str | Path | None = None) -> dict[str, list[str]]:
    """The options of each group."""
    return Library.open(Path(config_dir) if config_dir else None).groups()


class _Door:
    """Composes any number of recipes from one start."""

    def __init__(self, recipe_file: str | Path | None, config_dir: str | Path | None) -> None:
        self.library = Library.open(Path(config_dir) if config_dir else None)
        self.file = RecipeFile.read(Path(recipe_file)) if recipe_file else None

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

    def axes(self, texts: Sequence[str]) -> tuple[list[str], dict[str, Choices | Interval]]:
        """The overrides of a sweep, those with one value written out, and by key the axes of those with several.

        Raises:
            RecipeError: Every fault of an axis.
        """
        words, axes, faults = [], {}, []
        last = {_group(text): number for number, text in enumerate(texts)}
        for number, text in enumerate(texts):
            key, override = text.partition("=")[0], parse(text)
            if isinstance(override, Fault) or not override.is_sweep_override():
                words.append(text)  # `compose` says what is wrong with it
                continue
            if number < last[_group(text)]:  # later words win
                continue
            found = _axis_fault(override, text) or axis(override, text, self.library.options.get(override.key_or_group, ()))
            if isinstance(found, Fault):
                faults.append(found)
            elif isinstance(found, Choices) and len(found.values) == 1:
                words.append(f"{key}={found.values[0]}")
            else:
                words.append(text)
                axes[key] = found
        if faults:
            raise RecipeError.of(faults)
        return words, axes

    def sweeper(self, texts: Sequence[str]) -> Sweeper:
        """The group `sweeper` of the recipe of `texts`, whatever else is wrong with that."""
        choices, changes, _ = self._judge(texts)
        tree = self._start(choices, changes)
        apply(tree, changes, self.library.options)
        return Sweeper.model_validate_json(json.dumps(_resolved({"sweeper": tree.get("sweeper")})["sweeper"]))

    def _judge(self, texts: Sequence[str]) -> tuple[tuple[str, ...], list[Change], list[Fault]]:
        """Splits overrides into choices of groups and changes of values; those at fault are left out."""
        choices: list[str] = []
        changes: list[Change] = []
        faults: list[Fault] = []
        for text in texts:
            override = parse(text)
            if isinstance(override, Fault):
                faults.append(override)
            elif fault := refused(override, text) or sweep_fault(override, text, override.key_or_group in self.library.options):
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
        return self._from_file(self.file, choices) if self.file else _hydra_tree(choices, self.library)

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


def _group(choice: str) -> str:
    return choice.lstrip("+").partition("=")[0]


def _resolved(tree: dict[str, Any]) -> dict[str, Any]:
    """`tree` with its interpolations resolved; the gate is passed before and after."""
    check_tree(tree, "recipe")
    resolved = resolve(tree, os.environ)
    check_tree(resolved, "recipe")
    return resolved


@lru_cache(maxsize=1024)
def _hydra_tree(choices: tuple[str, ...], library: Library) -> dict[str, Any]:
    """What Hydra composes from `choices`, unresolved; not to be changed, for the same is returned again while no file of the library is."""
    for plugin in library.bare:
        ConfigStore.instance().store(plugin.name, plugin.tree, plugin.group, provider="cpt")
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


def _axis_fault(override: Override, text: str) -> Fault | None:
    """The fault of an override with several values that a sweep cannot vary."""
    key = override.key_or_group
    if any(f"{key}.".startswith(f"{whole}.") for whole in OF_THE_WHOLE_SWEEP):
        return Fault(key, text, "belongs to the whole sweep and cannot vary within it", "Give it one value")
    return refused(override, text)
