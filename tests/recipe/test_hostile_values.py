"""Whatever stands in a tree, the answer is a recipe or faults of one line each: never another exception."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cpt.errors import Fault, RecipeError
from cpt.recipe.amazon import from_amazon, is_amazon, to_amazon
from cpt.recipe.build import build

Tree = dict[str, Any]
TEXTS = st.text(max_size=8) | st.sampled_from(
    ["", "s3://b/x.jsonl", "auto", "1e-4", "nova_pro", "nova-pro/prod", "amazon.nova-pro-v1:0:300k", "\udcff"]
)
SCALARS = st.none() | st.booleans() | st.integers(-3, 2**40) | st.floats() | TEXTS
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3), max_leaves=6)
FUZZ = settings(deadline=None, max_examples=150, suppress_health_check=list(HealthCheck))


def places(tree: Tree) -> Iterator[tuple[Tree, str]]:
    for key, value in tree.items():
        yield tree, key
        if isinstance(value, dict):
            yield from places(value)


def spoil(tree: Tree, data: st.DataObject) -> Tree:
    for _ in range(data.draw(st.integers(1, 3))):
        group, key = data.draw(st.sampled_from(list(places(tree))))
        action = data.draw(st.sampled_from(["replace", "delete", "add"]))
        if action == "delete":
            del group[key]
        else:
            group[key if action == "replace" else data.draw(TEXTS)] = data.draw(VALUES)
        if not tree:
            break
    return tree


def answer(call: Callable[[], Any]) -> Any:
    faults: tuple[Fault, ...] = ()
    try:
        return call()
    except RecipeError as error:
        faults = error.faults
    assert faults
    assert all(str(fault).isprintable() and fault.where for fault in faults)
    return None


@FUZZ
@given(data=st.data())
def test_any_tree_is_built_or_refused(tree: Callable[..., Tree], data: st.DataObject) -> None:
    spoiled = spoil(tree("model=nova_lite", "cluster=p5x4", "data.train=s3://b/x.jsonl", "run.output=s3://b/o"), data)
    built = answer(lambda: build(spoiled))
    if built:
        answer(lambda: to_amazon(built[0]))


@FUZZ
@given(data=st.data())
def test_any_recipe_of_amazons_is_read_or_refused(nova_1: Callable[..., Tree], nova_2: Callable[[], Tree], data: st.DataObject) -> None:
    spoiled = spoil(data.draw(st.sampled_from([nova_1, nova_2]))(), data)
    is_amazon(spoiled)
    answer(lambda: from_amazon(spoiled, "x.yaml"))
