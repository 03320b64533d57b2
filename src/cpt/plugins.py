"""From a name in a recipe to code: entry points of installed distributions, and nothing else, turn one into the other.

`cpt.offers` says what is installed; here one of them is imported, checked, and given its options. Only what a recipe asks for is imported.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from difflib import get_close_matches
from importlib.metadata import EntryPoint
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from cpt.contracts import DataSource, Launcher, Logger, Sweeper
from cpt.errors import Fault, PluginError, one_line
from cpt.offers import OFFERED_BY, Kind, Plugin, core_fault, describe, installed, points

__all__ = ["OFFERED_BY", "Kind", "Plugin", "installed", "load", "load_class", "validate_options"]

CONTRACTS: dict[str, type] = {"data_sources": DataSource, "launchers": Launcher, "loggers": Logger, "sweepers": Sweeper}
OPTION_KEYS = {"data_sources": "data.options", "launchers": "launcher.options", "loggers": "logger.{name}", "sweepers": "sweeper.options"}


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
        PluginError: Not installed, installed twice, for another version of cpt, broken, or not what its kind asks for.
    """
    point = _find(kind, name, where)
    plugin = _import(point, where)
    if not (isinstance(plugin, type) and issubclass(plugin, CONTRACTS[kind])):
        raise PluginError(where, name, f"{describe(point)} is no {CONTRACTS[kind].__name__}", "tell its author")
    if lacking := sorted(getattr(plugin, "__abstractmethods__", ())):
        raise PluginError(where, name, f"{describe(point)} lacks {', '.join(lacking)}", "tell its author")
    schema = getattr(plugin, "Options", None)
    if not (isinstance(schema, type) and issubclass(schema, BaseModel)):
        raise PluginError(where, name, f"{describe(point)} has Options that are no pydantic model", "tell its author")
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


def _find(kind: Kind, name: str, where: str) -> EntryPoint:
    offered = points(kind)
    found = [point for point in offered if point.name == name]
    if not found:
        cure = _missing_cure(kind, name, {point.name for point in offered})
        raise PluginError(where, name, f"no installed package offers this {_noun(kind)}", cure)
    if len(found) > 1:
        rivals = " and ".join(sorted(str(describe(point)) for point in found))
        raise PluginError(where, name, f"offered more than once, by {rivals}", "uninstall all but one")
    if fault := core_fault(found[0].dist):
        package = describe(found[0])
        raise PluginError(where, name, f"{package} {fault}", f"pip install --upgrade {package.distribution}")
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
        cause = one_line(f"{type(error).__name__}: {error}", 400)
        cure = f"mend or uninstall {describe(point).distribution}"
        raise PluginError(where, point.name, f"{describe(point)} cannot be imported ({cause})", cure) from error


def _option_fault(detail: ErrorDetails, schema: type[BaseModel], where: str) -> Fault:
    key = ".".join([where, *map(str, detail["loc"])])
    if detail["type"] == "extra_forbidden":
        close = get_close_matches(str(detail["loc"][-1]), schema.model_fields, n=1) if len(detail["loc"]) == 1 else []
        cure = f"Did you mean {close[0]}?" if close else f"known: {', '.join(schema.model_fields) or 'none'}"
        return Fault(key, str(detail["input"]), "unknown option", cure)
    if detail["type"] == "missing":
        return Fault(key, "", "must be given", f"add {key}=...")
    return Fault(key, str(detail["input"]), detail["msg"][:1].lower() + detail["msg"][1:])


def _noun(kind: str) -> str:
    return kind.removesuffix("s").replace("_", " ")
