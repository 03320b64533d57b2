"""The gate reads recipe text without ever expanding, tagging or guessing anything."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cpt.errors import RecipeError
from cpt.recipe.gate import check_tree, read_yaml, write_yaml


def refusal(text: str) -> str:
    with pytest.raises(RecipeError) as error:
        read_yaml(text, "r.yaml")
    return str(error.value)


@pytest.mark.parametrize(
    ("text", "where", "rule"),
    [
        ("a: 1\nb: !!python/object/apply:os.system ['true']\n", "r.yaml:2", "tags are not allowed"),
        ("a: !!python/object/apply:pathlib.PosixPath [x]\n", "r.yaml:1", "tags are not allowed"),
        ("a: !!binary aGk=\n", "r.yaml:1", "tags are not allowed"),
        ("a: !mine x\n", "r.yaml:1", "tags are not allowed"),
        ("a: &x 1\nb: *x\n", "r.yaml:1", "aliases are not allowed"),
        ("a: &x 1\n", "r.yaml:1", "anchors are not allowed"),
        ("<<: {a: 1}\n", "r.yaml:1", "merge keys are not allowed"),
        ("a: 1\nb: 2\na: 3\n", "r.yaml:3", "stands here twice"),
        ("a:\n  b: {c: 1, c: 2}\n", "r.yaml:2", "stands here twice"),
        ("1: x\n", "r.yaml:1", "not text"),
        ("true: x\n", "r.yaml:1", "not text"),
        ("? [a]\n: x\n", "r.yaml:1", "not text"),
        ("a: b: c\n", "r.yaml:1", "not YAML"),
        ("a: 1\n---\nb: 2\n", "r.yaml:2", "another document"),
        ("- 1\n", "r.yaml", "a mapping"),
        ("", "r.yaml", "a mapping"),
        ("a: '\0'\n", "r.yaml", "control characters"),
        ("a: '\ud800'\n", "r.yaml", "UTF-8"),
    ],
)
def test_what_a_recipe_may_not_hold_is_named_with_its_line(text: str, where: str, rule: str) -> None:
    message = refusal(text)
    assert message.startswith(where)
    assert rule in message


@pytest.mark.parametrize(
    "text",
    [
        "a: " + "[" * 10_000,
        "a: " + "{a: " * 10_000,
        "a: [" + "1, " * 60_000 + "]",
        "a: " + "x" * 100_000_000,
        "a: &a [x, x]\n" + "".join(f"k{i}: &k{i} [*a, *a, *a, *a]\n" for i in range(10_000)),
        "\n".join(f"k{i}:" for i in range(100_000)),
    ],
    ids=["deep list", "deep mapping", "many nodes", "100 MB", "alias bomb", "many keys"],
)
def test_a_bomb_is_refused_in_bounded_time(text: str) -> None:
    start = time.process_time()
    assert len(refusal(text)) < 5000
    assert time.process_time() - start < 3


def test_several_faults_come_at_once() -> None:
    assert refusal("a: !x 1\nb: !y 2\nc: &z 3\n").count("r.yaml:") == 3


def test_numbers_and_words_are_those_of_yaml_1_2() -> None:
    numbers = "{a: 1e-5, b: 1.0e-05, g: 007, h: 8_192, k: .5, l: -3, o: 0x1F, "
    words = "c: no, d: on, e: 12:30:45, f: 2020-01-01, i: ~, j: , m: true, n: '1'}"
    assert read_yaml(numbers + words, "r") == {
        "a": 1e-5,
        "b": 1e-5,
        "c": "no",
        "d": "on",
        "e": "12:30:45",
        "f": "2020-01-01",
        "g": "007",
        "h": 8192,
        "i": None,
        "j": None,
        "k": 0.5,
        "l": -3,
        "m": True,
        "n": "1",
        "o": "0x1F",
    }


SCALARS: Any = (
    st.none()
    | st.booleans()
    | st.integers(-(10**12), 10**12)
    | st.floats(allow_nan=False)
    | st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=20)
    | st.sampled_from(
        ["no", "yes", "null", "1e-5", "0x1F", "12:30:45", "2020-01-01", "=", "<<", "~", "", ".inf", "${a}", "*a", "&a", "!a", "- a"]
    )
)
KEYS = st.text(st.characters(categories=["L", "N"], max_codepoint=0x2FFF), min_size=1, max_size=8)
TREES = st.dictionaries(
    KEYS, st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4), max_leaves=12)
)


@settings(max_examples=60, deadline=None)
@given(TREES)
def test_what_is_written_is_read_back_equal(tree: dict[str, Any]) -> None:
    assert read_yaml(write_yaml(tree), "r") == tree


@settings(max_examples=200, deadline=None)
@given(st.text(st.sampled_from("ab:-[]{}!&*<>|?'\"#%@\n \t0\0"), max_size=60))
def test_no_text_does_anything_but_read_or_refuse(text: str) -> None:
    with suppress(RecipeError):
        assert isinstance(read_yaml(text, "r"), dict)


def test_the_tree_gate_names_every_key_at_fault() -> None:
    tree = {"a": {"_target_": 1, "b": [{"_args_": []}]}, "hydra": {}, "hydra/launcher": 1, "c": {2: 1}, "d\u202e": 1, "e": "\0"}
    with pytest.raises(RecipeError) as error:
        check_tree(tree, "recipe")  # type: ignore[arg-type]
    assert len(error.value.faults) == 7


def test_a_tree_deeper_than_the_gate_is_refused() -> None:
    tree: dict[str, Any] = {}
    for _ in range(100):
        tree = {"a": tree}
    with pytest.raises(RecipeError, match="64 levels"):
        check_tree(tree, "recipe")


def test_a_plain_tree_passes() -> None:
    check_tree({"a": {"b": [1, {"c": None}], "hydra": "a word elsewhere"}}, "recipe")
