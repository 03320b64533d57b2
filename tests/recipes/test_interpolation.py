"""Interpolations name one value or one CPT_ variable, and nothing else happens."""

from __future__ import annotations

import pytest

from cpt.errors import RecipeError
from cpt.recipe.interpolation import resolve


def refusal(tree: dict[str, object], **environment: str) -> str:
    with pytest.raises(RecipeError) as error:
        resolve(tree, environment)
    return str(error.value)


def test_a_whole_reference_keeps_its_type_and_a_part_becomes_text() -> None:
    tree = {"a": {"b": 3, "c": [1.5, None]}, "x": "${a.b}", "y": "n-${a.b}-${a.c.0}", "z": ["${a.c.1}"], "w": "${x}"}
    assert resolve(tree, {}) == {"a": {"b": 3, "c": [1.5, None]}, "x": 3, "y": "n-3-1.5", "z": [None], "w": 3}


def test_the_tree_itself_is_left_alone() -> None:
    tree = {"a": {"b": "${d}"}, "c": [1], "d": 2}
    resolved = resolve(tree, {})
    resolved["c"].append(2)
    assert tree == {"a": {"b": "${d}"}, "c": [1], "d": 2}


@pytest.mark.parametrize(
    ("value", "expected"), [("${oc.env:CPT_A}", "1"), ("${oc.env:CPT_B,2}", "2"), ("${oc.env:CPT_A,2}/x", "1/x"), ("${oc.env:CPT_B,}", "")]
)
def test_a_cpt_variable_is_read_with_its_default(value: str, expected: str) -> None:
    assert resolve({"a": value}, {"CPT_A": "1"}) == {"a": expected}


def test_a_variables_content_is_not_interpolated_again() -> None:
    assert resolve({"a": "${oc.env:CPT_A}", "b": 1}, {"CPT_A": "${b}"}) == {"a": "${b}", "b": 1}


@pytest.mark.parametrize(
    ("value", "rule"),
    [
        ("${oc.env:HOME}", "whose names begin with CPT_, not 'HOME'"),
        ("${oc.env:cpt_a}", "whose names begin with CPT_"),
        ("${oc.env:CPT_A:B}", "whose names begin with CPT_"),
        ("${oc.decode:x}", "'oc.decode' is no resolver"),
        ("${mine:x}", "'mine' is no resolver"),
        ("${${a}}", "neither be nested"),
        ("${a", "nor left open"),
        ("${.a}", "by its full path"),
        ("${a[0]}", "by its full path"),
        ("${}", "by its full path"),
        ("${nothing}", "there is no key nothing"),
        ("${oc.env:CPT_MISSING}", "CPT_MISSING is not set"),
        ("${k}", "refers to itself"),
        ("${group}", "not a single value"),
    ],
)
def test_everything_else_is_refused(value: str, rule: str) -> None:
    assert rule in refusal({"k": value, "group": {"x": 1}})


def test_all_faults_come_at_once() -> None:
    assert refusal({"a": "${x}", "b": "${y}", "c": "${oc.env:CPT_Z}"}).count("\n") == 2


def test_a_long_chain_and_a_growing_one_are_refused() -> None:
    chain: dict[str, object] = {f"k{i}": f"${{k{i + 1}}}" for i in range(100)}
    assert "more than 32 others" in refusal(chain | {"k100": 1})
    growing: dict[str, object] = {f"k{i}": f"${{k{i + 1}}}" * 10 for i in range(30)}
    assert "10,000 characters" in refusal(growing | {"k30": "x"})
