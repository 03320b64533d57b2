"""Values that a person changes on a composed tree: `key=value`, `+key=value`, `++key=value`, `~key`, with Hydra's meaning."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from cpt.errors import Fault
from cpt.recipe.gate import dotted, walk

OPEN_KEYS = ("data.options", "data.validation", "launcher.options", "sweeper.options", "amazon")
"""Mappings whose keys the recipe does not know: the plugin's own schema, or a rule, decides. Loggers' settings are open too."""


@dataclass(frozen=True)
class Change:
    """One change of a value.

    Args:
        kind: `set` needs the key to exist, `add` needs it not to, `force` does either, `delete` removes it.
        key: Dotted path; list elements by number.
        value: The new value; for `delete` the value that must stand there, or null for any.
        text: As it was typed.
    """

    kind: Literal["set", "add", "force", "delete"]
    key: str
    value: Any
    text: str


def apply(tree: dict[str, Any], changes: Iterable[Change], groups: Iterable[str] = ()) -> list[Fault]:
    """Makes `changes` in `tree`, in order, and returns a fault for each that could not be made.

    Args:
        tree: A plain tree, changed in place.
        changes: What to change.
        groups: Names of the recipe's groups, for "did you mean".
    """
    return [fault for change in changes if (fault := _apply_one(tree, change, groups))]


def keys_given(changes: Iterable[Change]) -> Iterator[str]:
    """The keys that `changes` give a value, those inside a mapping too."""
    for change in changes:
        if change.kind != "delete":
            yield change.key
            yield from (f"{change.key}.{name}" for name in (change.value if isinstance(change.value, dict) else ()))


def did_you_mean(word: str, words: Sequence[str]) -> str:
    """The word of `words` that `word` most resembles, or one that ends in `.word`; empty if none comes near."""
    if same_name := [other for other in words if other.rpartition(".")[2] == word]:
        return same_name[0]
    lower = {other.lower(): other for other in words}
    return next((lower[match] for match in difflib.get_close_matches(word.lower(), lower, 1, 0.6)), "")


def _apply_one(tree: dict[str, Any], change: Change, groups: Iterable[str]) -> Fault | None:
    path = change.key.split(".")
    found, current = _look_up(tree, path)
    if change.kind == "delete":
        return _delete(tree, path, change) if found else _unknown(tree, change, groups)
    if change.kind == "set" and not found and not _is_open(tree, path):
        return _unknown(tree, change, groups)
    if change.kind == "add" and current is not None and not isinstance(change.value, (dict, list)):
        return Fault(change.key, change.text, "the recipe has this key already", f"Use {change.text.lstrip('+')}")
    return _put(tree, path, change)


def _look_up(tree: Any, path: Sequence[str]) -> tuple[bool, Any]:
    for part in path:
        if isinstance(tree, dict) and part in tree:
            tree = tree[part]
        elif isinstance(tree, list) and part.isdigit() and int(part) < len(tree):
            tree = tree[int(part)]
        else:
            return False, None
    return True, tree


def _loggers(tree: dict[str, Any]) -> dict[str, Any]:
    loggers = tree.get("logger")
    return loggers if isinstance(loggers, dict) else {}


def _is_open(tree: dict[str, Any], path: Sequence[str]) -> bool:
    if path[0] == "logger":
        return len(path) > 2 and path[1] in _loggers(tree)
    return any(dotted(tuple(path)).startswith(f"{key}.") for key in OPEN_KEYS)


def _put(tree: dict[str, Any], path: Sequence[str], change: Change) -> Fault | None:
    *parents, last = path
    node: Any = tree
    for part in parents:
        child = _look_up(node, [part])[1]
        if isinstance(node, dict) and not isinstance(child, (dict, list)):
            child = node[part] = {}
        node = child
    if isinstance(node, dict):
        node[last] = merged(node.get(last), change.value)
    elif isinstance(node, list) and last.isdigit() and int(last) < len(node):
        node[int(last)] = merged(node[int(last)], change.value)
    else:
        return Fault(change.key, change.text, "a list has elements 0 to its length less one", "Give the whole list: key=[...]")
    return None


def merged(old: Any, new: Any) -> Any:
    """`new` laid over `old`: mappings key by key, anything else whole."""
    if not (isinstance(old, dict) and isinstance(new, dict)):
        return new
    return old | {key: merged(old.get(key), value) for key, value in new.items()}


def _delete(tree: dict[str, Any], path: Sequence[str], change: Change) -> Fault | None:
    parent, current = _look_up(tree, path[:-1])[1], _look_up(tree, path)[1]
    if change.value is not None and change.value != current:
        return Fault(change.key, change.text, f"the value there is {current!r}", f"Use ~{change.key}")
    if not isinstance(parent, dict):
        return Fault(change.key, change.text, "an element of a list cannot be deleted", "Give the whole list: key=[...]")
    del parent[path[-1]]
    return None


def _unknown(tree: dict[str, Any], change: Change, groups: Iterable[str]) -> Fault:
    path = change.key.split(".")
    if path[0] == "logger" and len(path) > 1 and path[1] not in _loggers(tree):
        chosen = ",".join([*_loggers(tree), path[1]])
        return Fault(change.key, change.text, f"the logger {path[1]} is not chosen", f"Add logger=[{chosen}]")
    words = [*groups, *(dotted(path) for path, _ in walk(tree) if path)]
    near = did_you_mean(change.key, words)
    return Fault(
        change.key, str(change.value), "there is no such group or key", f"Did you mean {near}?" if near else "cpt train --help lists them"
    )
