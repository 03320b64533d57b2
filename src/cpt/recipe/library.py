"""Where recipe options stand: cpt's own `conf/`, those of installed packages (entry points `cpt.recipes`), and a user's folder.

An option is `<root>/<group>/<option>.yaml`; names that begin with `_` are parts that options share. An option in two places is an error.
"""

from __future__ import annotations

import importlib.util
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from importlib.metadata import entry_points
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple

from cpt.errors import Fault, RecipeError
from cpt.offers import Kind, installed, package_of
from cpt.recipe import interpolation
from cpt.recipe.changes import did_you_mean
from cpt.recipe.file import read_text
from cpt.recipe.gate import check_tree, read_yaml, walk

MAX_FILES = 1_000
_HYDRA_PACKAGE = re.compile(r"#\s*@package\s+\S*\bhydra\b")


@dataclass(frozen=True)
class Shelf:
    """One root folder of options.

    Args:
        owner: Who offers it, for messages: a distribution or a folder.
        root: The folder.
    """

    owner: str
    root: Path

    def files(self) -> Iterator[Path]:
        """Every YAML file, in order."""
        for folder, subfolders, names in os.walk(self.root, followlinks=True):
            subfolders[:] = sorted(name for name in subfolders if not name.startswith("."))
            yield from (Path(folder, name) for name in sorted(names) if name.endswith(".yaml"))


class Bare(NamedTuple):
    """An installed plugin of whose name no shelf has an option: it can be chosen all the same."""

    group: str
    name: str

    @property
    def tree(self) -> dict[str, Any]:
        """The option."""
        return {self.name: {}} if self.group == "logger" else {"name": self.name, "options": {}}


@dataclass(frozen=True)
class Library:
    """What recipes are composed from; equal to another where all files are what they were.

    Args:
        shelves: All, the core's first.
        files: Each file and when it was written, in nanoseconds since 1970.
        bare: The plugins that need no shelf.
        options: What there is to choose: `{group: {option: shelf}}`.
    """

    shelves: tuple[Shelf, ...]
    files: tuple[tuple[Path, int], ...]
    bare: tuple[Bare, ...]
    options: dict[str, dict[str, Shelf]] = field(compare=False)

    @classmethod
    def open(cls, config_dir: Path | None = None) -> Library:
        """The library with the user's folder, if given.

        Raises:
            RecipeError: An option stands in two places, or a file of `config_dir` does not pass the gate; all of them.
        """
        shelves = [Shelf("cpt-train", Path(str(files("cpt.conf")))), *_package_shelves()]
        if config_dir is not None:
            shelves.append(_user_shelf(config_dir))
        places: dict[str, list[Shelf]] = {}
        written = []
        for shelf in shelves:
            for file in shelf.files():
                places.setdefault(file.relative_to(shelf.root).with_suffix("").as_posix(), []).append(shelf)
                written.append((file, file.stat().st_mtime_ns))
        if faults := [_duplicate(name, owners) for name, owners in places.items() if len(owners) > 1]:
            raise RecipeError.of(faults)
        options = _by_group(places)
        bare = tuple(_bare(options))
        for plugin in bare:
            options[plugin.group][plugin.name] = shelves[0]
        return cls(tuple(shelves), tuple(written), bare, options)

    @property
    def core_groups(self) -> set[str]:
        """The groups that every recipe has."""
        core = self.shelves[0]
        return {group for group, options in self.options.items() if core in options.values()}

    def option_fault(self, group: str, option: str) -> Fault | None:
        """What is wrong with choosing `option`, if anything."""
        if option in self.options[group]:
            return None
        if package := package_of(group, option):
            cure = f"It comes with the plugin {package}, which is not installed"
            return Fault(group, option, "no installed package offers this option", cure)
        options = sorted(self.options[group])
        near = did_you_mean(option, options)
        cure = f"Did you mean {group}={near}?" if near else f"Options: {', '.join(options)}"
        return Fault(group, option, f"there is no such option of {group}", cure)

    def groups(self) -> dict[str, list[str]]:
        """The options of each group, both in order."""
        return {group: sorted(options) for group, options in sorted(self.options.items())}


def _by_group(places: dict[str, list[Shelf]]) -> dict[str, dict[str, Shelf]]:
    options: dict[str, dict[str, Shelf]] = {}
    for name, (shelf, *_) in places.items():
        group, _, option = name.partition("/")
        if option and not option.rpartition("/")[2].startswith("_"):
            options.setdefault(group, {})[option] = shelf
    return options


def _bare(options: Mapping[str, Mapping[str, Shelf]]) -> Iterator[Bare]:
    kinds: tuple[tuple[Kind, str], ...] = (("launchers", "launcher"), ("loggers", "logger"))
    for kind, group in kinds:
        yield from (Bare(group, name) for name in sorted({plugin.name for plugin in installed(kind)} - options[group].keys()))


def _duplicate(name: str, shelves: list[Shelf]) -> Fault:
    owners = " and ".join(f"{shelf.owner} ({shelf.root / name}.yaml)" for shelf in shelves)
    return Fault(name, "", f"is offered twice: by {owners}", "Rename one of them")


def _package_folders(module: str) -> list[Path]:
    """The folders of a package, found without running its code: the top-level package is looked up, the rest of the name are folders."""
    top, *rest = module.split(".")
    spec = importlib.util.find_spec(top)
    return [Path(location, *rest) for location in spec.submodule_search_locations or ()] if spec else []


def _package_shelves() -> Iterator[Shelf]:
    for entry in sorted(entry_points(group="cpt.recipes"), key=lambda entry: entry.name):
        owner = entry.dist.name if entry.dist else entry.name
        folders = [folder for folder in _package_folders(entry.module) if folder.is_dir()]
        if not folders:
            raise RecipeError(Fault(owner, entry.value, "its entry point in cpt.recipes leads to no folder", f"Reinstall {owner}"))
        yield Shelf(owner, folders[0])


def _user_shelf(config_dir: Path) -> Shelf:
    if not config_dir.is_dir():
        raise RecipeError(Fault("--config-dir", str(config_dir), "is not a folder", "Name the folder that holds your groups"))
    shelf = Shelf("--config-dir", config_dir.resolve())
    faults: list[Fault] = []
    for number, file in enumerate(shelf.files()):
        if number >= MAX_FILES:
            raise RecipeError(Fault("--config-dir", str(config_dir), f"holds more than {MAX_FILES:,} YAML files"))
        if file.is_relative_to(shelf.root / "hydra"):
            faults.append(Fault(str(file), "", "Hydra's own configuration is not open to recipes", "Remove it"))
        faults += _file_faults(file)
    if faults:
        raise RecipeError.of(faults)
    return shelf


def _file_faults(file: Path) -> list[Fault]:
    try:
        text = read_text(file)
        tree = read_yaml(text, str(file)) if text.strip() else {}
        check_tree(tree, str(file))
    except RecipeError as error:
        return list(error.faults)
    faults = [Fault(f"{file}: {fault.where}", fault.value, fault.rule, fault.cure) for fault in interpolation.check_interpolations(tree)]
    if _HYDRA_PACKAGE.search(text):
        faults.append(Fault(str(file), "@package hydra", "Hydra's own configuration is not open to recipes", "Remove it"))
    return faults + [Fault(f"{file}: defaults", entry, rule, "Name an option of a group") for entry, rule in _defaults_faults(tree)]


def _defaults_faults(tree: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for _, node in walk(tree.get("defaults", [])):
        for text in node if isinstance(node, dict) else [node] if isinstance(node, str) else []:
            if re.search(r"(^|[/@ .])hydra([/@ .]|$)", text):
                yield text, "Hydra's own configuration is not open to recipes"
            elif ".." in text or "://" in text or "${" in text:
                yield text, "a defaults list names options, never paths, URLs or interpolations"
