"""`${key}` and `${oc.env:CPT_NAME,default}` in a recipe's values: the two forms there are, and nothing that could run, read or grow.

A reference names a single value by its full path. `oc.env` reads environment variables whose names begin with `CPT_`: what a stranger's
recipe may see of the machine. Any other resolver, a nested or a circular interpolation is refused by name.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from typing_extensions import override

from cpt.errors import Fault, RecipeError
from cpt.recipe.gate import dotted, walk

MAX_LENGTH = 10_000
"""Characters of a value after interpolation."""
_INTERPOLATION = re.compile(r"\$\{([^${}]*)\}")
_REFERENCE = re.compile(r"[A-Za-z_]\w*(?:\.\w+)*")
_ENVIRONMENT = re.compile(r"oc\.env:\s*(CPT_\w+)\s*(?:,(.*))?", re.DOTALL)


def check_interpolations(tree: Mapping[str, Any]) -> Iterator[Fault]:
    """A fault for each interpolation that is not one of the two forms."""
    for path, value in walk(tree):
        if isinstance(value, str) and "${" in value:
            where = dotted(path)
            if "${" in _INTERPOLATION.sub("", value):
                yield Fault(where, value, "interpolations may neither be nested nor left open", "Write ${key} or ${oc.env:CPT_NAME}")
            for body in _INTERPOLATION.findall(value):
                yield from _form_faults(where, body)


def resolve(tree: dict[str, Any], environment: Mapping[str, str]) -> dict[str, Any]:
    """A copy of `tree` with every interpolation replaced by its value.

    Raises:
        RecipeError: A form that is not allowed, an unknown key or variable, a circle, a value too long or still `???`: all of them.
    """
    faults = list(check_interpolations(tree))
    if faults:
        raise RecipeError.of(faults)
    resolver = _Resolver(tree, environment)
    resolved = resolver.node(tree, ())
    if resolver.faults:
        raise RecipeError.of(resolver.faults)
    return resolved  # type: ignore[no-any-return]


def from_environment(tree: dict[str, Any], resolved: Mapping[str, Any]) -> dict[str, str]:
    """The values of `resolved` that the environment has a part in, directly or through references: the text in `tree` by dotted key."""
    other = dict(walk(resolve(tree, _Elsewhere())))
    texts = dict(walk(tree))
    return {dotted(path): str(texts[path]) for path, value in walk(resolved) if isinstance(value, str) and other[path] != value}


class _Elsewhere(dict[str, str]):
    """An environment like no other, in which every variable is set."""

    @override
    def get(self, key: str, default: Any = None) -> Any:
        return f"\0{key}"


def _form_faults(where: str, body: str) -> Iterator[Fault]:
    if _REFERENCE.fullmatch(body) or _ENVIRONMENT.fullmatch(body):
        return
    name, colon, argument = body.partition(":")
    if name.strip() == "oc.env":
        rule = f"a recipe may read only environment variables whose names begin with CPT_, not {argument.split(',')[0].strip()!r}"
        yield Fault(where, f"${{{body}}}", rule, "Set CPT_... and name that")
    elif colon:
        yield Fault(where, f"${{{body}}}", f"{name.strip()!r} is no resolver of recipes", "Write ${key} or ${oc.env:CPT_NAME}")
    else:
        yield Fault(where, f"${{{body}}}", "an interpolation names a key by its full path", "Write it like ${optim.lr}")


class _Resolver:
    """Resolves each value once, so that chains of references cost what they are long."""

    def __init__(self, tree: Mapping[str, Any], environment: Mapping[str, str]) -> None:
        self.tree, self.environment = tree, environment
        self.faults: list[Fault] = []
        self.known: dict[str, Any] = {}
        self.open: set[str] = set()

    def node(self, node: Any, path: tuple[Any, ...]) -> Any:
        if isinstance(node, dict):
            return {key: self.node(child, (*path, key)) for key, child in node.items()}
        if isinstance(node, (list, tuple)):
            return [self.node(child, (*path, index)) for index, child in enumerate(node)]
        if node == "???":
            return self.fault(dotted(path), "", "has no value yet", f"Give {dotted(path)}=VALUE")
        return self.text(node, dotted(path)) if isinstance(node, str) and "${" in node else node

    def text(self, text: str, where: str) -> Any:
        if where in self.known:
            return self.known[where]
        if where in self.open or len(self.open) > 32:
            return self.fault(where, text, "the interpolation refers to itself, or through more than 32 others")
        self.open.add(where)
        if whole := _INTERPOLATION.fullmatch(text):
            value = self.value(whole[1], where)
        else:
            value = _INTERPOLATION.sub(lambda match: str(self.value(match[1], where))[: MAX_LENGTH + 1], text)
            if len(value) > MAX_LENGTH:
                value = self.fault(where, value[:40], f"a value has at most {MAX_LENGTH:,} characters")
        self.open.discard(where)
        self.known[where] = value
        return value

    def value(self, body: str, where: str) -> Any:
        if variable := _ENVIRONMENT.fullmatch(body):
            default = variable[2].strip() if variable[2] is not None else None
            found = self.environment.get(variable[1], default)
            return found if found is not None else self.fault(where, f"${{{body}}}", f"{variable[1]} is not set in the environment")
        node: Any = self.tree
        for part in body.split("."):
            if isinstance(node, (list, tuple)) and part.isdigit() and int(part) < len(node):
                node = node[int(part)]
            elif isinstance(node, dict) and part in node:
                node = node[part]
            else:
                return self.fault(where, f"${{{body}}}", f"there is no key {body}")
        if isinstance(node, (dict, list, tuple)):
            return self.fault(where, f"${{{body}}}", f"{body} is not a single value", "Refer to one value")
        return self.text(node, body) if isinstance(node, str) and "${" in node else node

    def fault(self, where: str, value: str, rule: str, cure: str = "") -> Any:
        """Notes a fault; the value of what cannot be resolved is null."""
        return self.faults.append(Fault(where, value, rule, cure))
