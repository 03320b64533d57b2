"""From a name in a recipe to code: entry points of installed distributions, and nothing else, turn one into the other.

A distribution offers plugins in its metadata, one table a kind:

    [project.entry-points."cpt.loggers"]
    aim = "cpt_aim:AimLogger"

Kinds: `data_sources`, `launchers`, `loggers` (classes of `cpt.contracts`) and `recipes` (a package whose folder holds recipe groups).
Only what a recipe asks for is imported.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from difflib import get_close_matches
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Literal, NamedTuple

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from cpt.contracts import DataSource, Launcher, Logger, Sweeper
from cpt.errors import Fault, PluginError

Kind = Literal["data_sources", "launchers", "loggers", "sweepers", "recipes"]

CONTRACTS: dict[str, type] = {"data_sources": DataSource, "launchers": Launcher, "loggers": Logger, "sweepers": Sweeper}
OPTION_KEYS = {"data_sources": "data.options", "launchers": "launcher.options", "loggers": "logger.{name}", "sweepers": "sweeper.options"}
OFFERED_BY = {
    ("launchers", "slurm"): "cpt-slurm",
    ("launchers", "kubernetes"): "cpt-kubernetes",
    ("launchers", "hyperpod"): "cpt-hyperpod",
    ("loggers", "aim"): "cpt-aim",
}
"""Distributions known to offer what the core leaves out."""


class Plugin(NamedTuple):
    """What a distribution's metadata says of one plugin."""

    name: str
    distribution: str
    version: str
    value: str
    """`package.module:Class`."""


def installed(kind: Kind) -> list[Plugin]:
    """The plugins of a kind, by name; read from metadata, without importing any."""
    return sorted(_describe(point) for point in entry_points(group=f"cpt.{kind}"))


def load(kind: Kind, name: str, options: Mapping[str, object], where: str) -> tuple[type[Any], BaseModel]:
    """The class behind a name, and its options validated.

    Args:
        kind: Any kind but `recipes`.
        name: The plugin's name.
        options: The recipe's settings for it; plain JSON values.
        where: The key that holds the name.

    Returns:
        A subclass of the kind's contract, and an instance of its `Options`.

    Raises:
        PluginError: See `load_class`; or options that it refuses (every fault).
    """
    plugin = load_class(kind, name, where)
    return plugin, validate_options(plugin.Options, options, OPTION_KEYS[kind].format(name=name))


def load_class(kind: Kind, name: str, where: str) -> type[Any]:
    """The class behind a name.

    Raises:
        PluginError: Not installed, installed twice, broken, or not what its kind asks for.
    """
    point = _find(kind, name, where)
    plugin = _import(point, where)
    if not (isinstance(plugin, type) and issubclass(plugin, CONTRACTS[kind])):
        raise PluginError(Fault(where, name, f"{_origin(point)} is no {CONTRACTS[kind].__name__}", "tell its author"))
    schema = getattr(plugin, "Options", None)
    if not (isinstance(schema, type) and issubclass(schema, BaseModel)):
        raise PluginError(Fault(where, name, f"{_origin(point)} has Options that are no pydantic model", "tell its author"))
    return plugin


def validate_options(schema: type[BaseModel], options: Mapping[str, object], where: str) -> BaseModel:
    """`options` as `schema`: strict, unknown keys refused, all faults at once.

    Raises:
        PluginError: Every option that is unknown, missing or wrong.
    """
    try:
        return schema.model_validate_json(json.dumps(options), strict=True, extra="forbid")
    except ValidationError as error:
        raise PluginError(*(_option_fault(detail, schema, where) for detail in error.errors(include_url=False))) from None


def _find(kind: str, name: str, where: str) -> EntryPoint:
    points = entry_points(group=f"cpt.{kind}")
    found = [point for point in points if point.name == name]
    if not found:
        raise PluginError(Fault(where, name, f"no installed package offers this {_noun(kind)}", _missing_cure(kind, name, points.names)))
    if len(found) > 1:
        rivals = " and ".join(sorted(_origin(point) for point in found))
        raise PluginError(Fault(where, name, f"offered more than once, by {rivals}", "uninstall all but one"))
    return found[0]


def _missing_cure(kind: str, name: str, known: set[str]) -> str:
    if package := OFFERED_BY.get((kind, name)):
        return f"It comes with the plugin {package}, which is not installed"
    if close := get_close_matches(name, known, n=1):
        return f"Did you mean {close[0]}?"
    return f"installed: {', '.join(sorted(known)) or 'none'}"


def _import(point: EntryPoint, where: str) -> object:
    try:
        return point.load()
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # a stranger's module may raise anything, SystemExit included
        cause = f"{type(error).__name__}: {error}"
        cure = f"mend or uninstall {_describe(point).distribution}"
        raise PluginError(Fault(where, point.name, f"{_origin(point)} cannot be imported ({cause})", cure)) from error


def _option_fault(detail: ErrorDetails, schema: type[BaseModel], where: str) -> Fault:
    key = ".".join([where, *map(str, detail["loc"])])
    if detail["type"] == "extra_forbidden":
        close = get_close_matches(str(detail["loc"][-1]), schema.model_fields, n=1) if len(detail["loc"]) == 1 else []
        cure = f"Did you mean {close[0]}?" if close else f"known: {', '.join(schema.model_fields) or 'none'}"
        return Fault(key, str(detail["input"]), "unknown option", cure)
    if detail["type"] == "missing":
        return Fault(key, "", "must be given", f"add {key}=...")
    return Fault(key, str(detail["input"]), detail["msg"][:1].lower() + detail["msg"][1:])


def _describe(point: EntryPoint) -> Plugin:
    distribution = point.dist
    name, version = (distribution.name, distribution.version) if distribution else ("unknown", "")
    return Plugin(point.name, name, version, point.value)


def _origin(point: EntryPoint) -> str:
    plugin = _describe(point)
    return f"{plugin.distribution} {plugin.version} ({plugin.value})"


def _noun(kind: str) -> str:
    return kind.removesuffix("s").replace("_", " ")
