"""The gate that recipe text passes before anything else reads it: recipes are data from strangers.

`read_yaml` judges the text (YAML events first, so that no bomb is ever expanded), `check_tree` the tree it became. Neither executes, opens
or resolves anything. Numbers and truth values are those of YAML 1.2, so `1e-5` is a number and `no` a word.
"""

from __future__ import annotations

import re
import time
import unicodedata
from collections.abc import Iterator
from typing import Any

import yaml

from cpt.errors import Fault, RecipeError
from cpt.recipe.document import Dumper

MAX_BYTES, MAX_DEPTH, MAX_NODES, MAX_SECONDS, MAX_FAULTS = 1_000_000, 64, 50_000, 2.0, 20
INSTANTIATION_KEYS = frozenset({"_target_", "_partial_", "_args_", "_recursive_", "_convert_"})
"""What makes Hydra's `instantiate` call something. Nothing here calls it, and no recipe may hope that something does."""

_Parser: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_FLOAT = re.compile(r"[-+]?(?:[0-9][0-9_]*\.[0-9_]*|\.[0-9][0-9_]*)(?:[eE][-+]?[0-9]+)?|[-+]?[0-9][0-9_]*[eE][-+]?[0-9]+|[-+]?\.inf|\.nan")
_SCALARS = {
    "tag:yaml.org,2002:null": re.compile(r"~|null|Null|NULL|"),
    "tag:yaml.org,2002:bool": re.compile(r"true|True|TRUE|false|False|FALSE"),
    "tag:yaml.org,2002:int": re.compile(r"[-+]?(?:0|[1-9][0-9_]*)"),
    "tag:yaml.org,2002:float": _FLOAT,
}


class _Loader(_Parser):  # type: ignore[misc]
    """Safe, with YAML 1.2's scalars, string keys only and each key once."""

    yaml_implicit_resolvers = {None: [(tag, re.compile(f"(?:{pattern.pattern})$")) for tag, pattern in _SCALARS.items()]}  # noqa: RUF012

    def mapping(self, node: Any) -> dict[str, Any]:
        """The mapping of `node`; a repeated key or one that is no text is refused."""
        seen: set[str] = set()
        for key, _ in node.value:
            if key.tag != "tag:yaml.org,2002:str":
                raise yaml.constructor.ConstructorError(None, None, f"the key {key.value!r} is not text", key.start_mark)
            if key.value in seen:
                raise yaml.constructor.ConstructorError(None, None, f"the key {key.value!r} stands here twice", key.start_mark)
            seen.add(key.value)
        return {key.value: self.construct_object(value, deep=True) for key, value in node.value}


_Loader.add_constructor("tag:yaml.org,2002:map", _Loader.mapping)


class _Dumper(Dumper):
    """Quotes only what Python's readers could take for something else than text: a recipe is for people too."""


_Dumper.add_representer(str, Dumper.represent_str)
_Dumper.add_implicit_resolver("tag:yaml.org,2002:float", re.compile(f"(?:{_FLOAT.pattern})$"), list("-+.0123456789"))


def read_yaml(text: str, where: str) -> dict[str, Any]:
    """The mapping that `text` holds.

    Args:
        text: YAML of at most 1 MB, 64 levels and 50,000 nodes, without anchors, aliases, tags, merge or duplicate keys.
        where: What to call it in faults: the file's name.

    Raises:
        RecipeError: The text is not such YAML; each fault with its line.
    """
    if len(text.encode(errors="surrogatepass")) > MAX_BYTES:
        raise RecipeError(Fault(where, "", f"a recipe is at most {MAX_BYTES:,} bytes", "Give the recipe, not the data"))
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise RecipeError(Fault(where, "", "a recipe is UTF-8 text", "Save the file as UTF-8"))
    try:
        if faults := [fault for _, fault in zip(range(MAX_FAULTS), _event_faults(text, where), strict=False)]:
            raise RecipeError.of(faults)
        tree = yaml.load(text, Loader=_Loader)  # noqa: S506 - derived from the safe loader
    except yaml.YAMLError as error:
        raise RecipeError(_syntax_fault(error, where)) from None
    if not isinstance(tree, dict):
        raise RecipeError(Fault(where, type(tree).__name__, "a recipe is a mapping of keys to values", "Write key: value lines"))
    return tree


def write_yaml(tree: dict[str, Any]) -> str:
    """`tree` as YAML that `read_yaml` turns into an equal tree."""
    return yaml.dump(tree, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=140)


def check_tree(tree: dict[str, Any], where: str) -> None:
    """Refuses a plain tree that could make another program act: run it before interpolation and after.

    Raises:
        RecipeError: An instantiation key at any depth, a `hydra` node, a key that is not printable text, too many or too deep nodes.
    """
    faults = [fault for _, fault in zip(range(MAX_FAULTS), _tree_faults(tree, where), strict=False)]
    if faults:
        raise RecipeError.of(faults)


def walk(node: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """Every node of a plain tree with its path, the root first."""
    yield path, node
    children = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, (list, tuple)) else ()
    for key, child in children:
        yield from walk(child, (*path, key))


def dotted(path: tuple[Any, ...]) -> str:
    """The path as a person types it: `optim.betas.0`."""
    return ".".join(map(str, path))


def _event_faults(text: str, where: str) -> Iterator[Fault]:
    depth = nodes = 0
    deadline = time.monotonic() + MAX_SECONDS
    events: Iterator[Any] = yaml.parse(text, Loader=_Parser)
    for event in events:
        here = f"{where}:{event.start_mark.line + 1}"
        if isinstance(event, yaml.AliasEvent):
            yield Fault(here, f"*{event.anchor}", "aliases are not allowed in a recipe", "Write the value out")
        elif getattr(event, "anchor", None):
            yield Fault(here, f"&{event.anchor}", "anchors are not allowed in a recipe", "Write the value out where it is needed")
        if getattr(event, "tag", None):
            yield Fault(here, event.tag, "tags are not allowed in a recipe", "Write a plain value")
        if isinstance(event, yaml.ScalarEvent) and event.value == "<<" and event.implicit[0]:
            yield Fault(here, "<<", "merge keys are not allowed in a recipe", "Write the keys out")
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        nodes += isinstance(event, yaml.NodeEvent)
        if depth > MAX_DEPTH or nodes > MAX_NODES or time.monotonic() > deadline:
            yield Fault(here, "", f"a recipe has at most {MAX_DEPTH} levels and {MAX_NODES:,} nodes, read in {MAX_SECONDS:.0f} seconds")
            return


def _syntax_fault(error: yaml.YAMLError, where: str) -> Fault:
    mark = getattr(error, "problem_mark", None)
    here = f"{where}:{mark.line + 1}" if mark else where
    problem = getattr(error, "problem", None) or getattr(error, "reason", None) or "it cannot be read"
    return Fault(here, "", f"this is not YAML that a recipe may hold: {problem}", "Mend the line")


def _tree_faults(tree: Any, where: str) -> Iterator[Fault]:
    for nodes, (path, value) in enumerate(walk(tree)):
        if nodes >= MAX_NODES or len(path) > MAX_DEPTH:
            yield Fault(where, dotted(path[:8]), f"a recipe has at most {MAX_DEPTH} levels and {MAX_NODES:,} nodes")
            return
        if isinstance(value, str) and "\0" in value:
            yield Fault(dotted(path), value, "text may not hold a NUL character")
        for key in value if isinstance(value, dict) else ():
            if rule := _key_rule(key, at_root=not path):
                yield Fault(f"{where}: {dotted((*path, key))}", str(key), rule, "Remove it")


def _key_rule(key: object, at_root: bool) -> str:
    if not isinstance(key, str):
        return "a key is text"
    if key in INSTANTIATION_KEYS:
        return "a recipe names components and never code: this key is not allowed"
    if at_root and re.split(r"[./@ ]", key)[0] == "hydra":
        return "Hydra's own configuration is not open to recipes"
    if any(unicodedata.category(character) in ("Cc", "Cf", "Cs", "Co", "Zl", "Zp") for character in key):
        return "a key holds printable characters only"
    return ""
