"""A plain tree becomes the typed recipe, or an error that carries every fault in it."""

from __future__ import annotations

import json
import re
import types
from collections.abc import Iterator, Mapping
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from cpt.errors import Fault, RecipeError
from cpt.recipe import rules
from cpt.recipe.changes import did_you_mean
from cpt.recipe.schedule import schedule_warnings
from cpt.recipe.schema import Recipe

Path = tuple[str, ...]
BOUNDS = {
    "greater_than": "must be greater than {gt}",
    "greater_than_equal": "must be at least {ge}",
    "less_than": "must be less than {lt}",
    "less_than_equal": "must be at most {le}",
}
NAMES = {int: "a whole number", float: "a number", str: "text", bool: "true or false", types.NoneType: "null"}


def build(tree: Mapping[str, Any]) -> tuple[Recipe, tuple[str, ...]]:
    """The recipe that `tree` (as composed: plain, JSON-able) describes, and what to warn of.

    Raises:
        RecipeError: Keys are unknown or missing, or values break a type or a rule of their model; every fault found.
    """
    recipe, faults = _typed(tree)
    broken, warnings = rules.check(tree)
    for fault in broken:
        path = tuple(fault.where.split("."))
        within = any(".".join(path[:depth]) in faults for depth in range(1, len(path)))
        if not within and (fault.where not in faults or _value(tree, path) is not None):
            faults[fault.where] = fault  # a model's rule says more than the type does: which choices are left, and why
    if recipe is None or faults:
        raise RecipeError.of(faults.values())
    return recipe, (*warnings, *_schedule_warnings(recipe))


def _schedule_warnings(recipe: Recipe) -> tuple[str, ...]:
    """Those that are known before the data is: where steps alone decide the length."""
    steps = recipe.train.max_steps
    return schedule_warnings(recipe.sched, steps) if steps is not None and recipe.train.max_epochs is None else ()


def keys(model: type[BaseModel] = Recipe, prefix: str = "") -> Iterator[str]:
    """The dotted keys of a recipe: `run.name`, `run.output`, ..."""
    for name, field in model.model_fields.items():
        inner = _model(field.annotation)
        if inner is None:
            yield prefix + name
        else:
            yield from keys(inner, f"{prefix}{name}.")


def _typed(tree: Mapping[str, Any]) -> tuple[Recipe | None, dict[str, Fault]]:
    """The recipe, or its faults by key."""
    text = json.dumps(tree, ensure_ascii=False, default=str).encode("utf-8", "replace")
    try:
        return Recipe.model_validate_json(text), {}
    except ValidationError as error:
        faults: dict[str, Fault] = {}
        for detail in error.errors(include_url=False, include_input=False):
            fault = _fault(detail, tree)
            faults.setdefault(fault.where, fault)  # a union reports each of its members
        return None, faults


def _fault(detail: ErrorDetails, tree: Mapping[str, Any]) -> Fault:
    kind, path = detail["type"], _path(detail, tree)
    where, value = ".".join(path) or "recipe", _value(tree, path)
    if kind == "missing" and len(path) == len(detail["loc"]):
        return Fault(where, "", "must be given", "null is allowed" if types.NoneType in _members(_annotation(path)) else "")
    if kind == "extra_forbidden":
        return Fault(where, _shown(value), "is not a key of the recipe", _suggest_key(path))
    if kind in BOUNDS:
        return Fault(where, _shown(value), BOUNDS[kind].format(**detail["ctx"]))
    annotation = _annotation(path)
    return Fault(where, _shown(value), f"must be {_described(annotation)}", _cure(value, annotation))


def _path(detail: ErrorDetails, tree: Mapping[str, Any]) -> Path:
    """The key at fault: pydantic's location without positions in a list and members of a union."""
    path: list[str] = []
    node: Any = tree
    for part in detail["loc"]:
        if not isinstance(node, Mapping) or (part not in node and detail["type"] not in ("missing", "extra_forbidden")):
            break
        path.append(str(part))
        node = node.get(part)
    return tuple(path)


def _value(tree: Mapping[str, Any], path: Path) -> Any:
    node: Any = tree
    for part in path:
        node = node.get(part) if isinstance(node, Mapping) else None
    return node


def _annotation(path: Path) -> Any:
    annotation: Any = Recipe
    for part in path:
        model = _model(annotation)
        annotation = model.model_fields[part].annotation if model else get_args(annotation)[-1]
    return annotation


def _members(annotation: Any) -> tuple[Any, ...]:
    return get_args(annotation) if get_origin(annotation) in (Union, types.UnionType) else (annotation,)


def _model(annotation: Any) -> type[BaseModel] | None:
    models = [member for member in _members(annotation) if isinstance(member, type) and issubclass(member, BaseModel)]
    return models[0] if models else None


def _described(annotation: Any) -> str:
    """What a value of `annotation` is called: `a whole number or auto`."""
    return " or ".join(_described_member(member) for member in _members(annotation))


def _described_member(member: Any) -> str:
    origin, arguments = get_origin(member), get_args(member)
    if origin is Literal:
        return " or ".join(map(str, arguments))
    if origin is tuple:
        return "a list of texts" if ... in arguments else f"a list of {len(arguments)} numbers"
    if origin is dict or _model(member):
        return "a group of keys"
    return NAMES[member]


def _cure(value: Any, annotation: Any) -> str:
    members = _members(annotation)
    number = int in members or float in members
    if isinstance(value, str) and number and _is_number(value):
        return f"Write {_yaml_number(value)} without quotes"
    if isinstance(value, float) and int in members and value.is_integer():
        return f"Write {int(value)}"
    if isinstance(value, int | float) and str in members:
        return f"Quote it, so that it stays text: \"'{_shown(value)}'\""
    return ""


def _yaml_number(quoted: str) -> str:
    """A whole number as it is, else `1.0e-08`: YAML 1.1 takes `1e-08` for text."""
    if re.fullmatch(r"-?[0-9]+", quoted):
        return quoted
    text = repr(float(quoted))
    return text if "." in text else text.replace("e", ".0e")


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _suggest_key(path: Path) -> str:
    """The nearest sibling, else the key of that name in another group."""
    *parents, name = path
    model = _model(_annotation(tuple(parents)))
    siblings = list(model.model_fields) if model else []
    near = did_you_mean(name, siblings)
    near = ".".join([*parents, near]) if near else did_you_mean(name, list(keys()))
    return f"Did you mean {near}?" if near else f"Here stand {', '.join(siblings)}"


def _shown(value: Any) -> str:
    """A value as YAML writes it."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
