"""What other programs' readers get: the same to those of YAML 1.1 and of 1.2, whatever a text holds."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from cpt.recipe import amazon
from cpt.recipe.document import is_word, write_document
from cpt.recipe.gate import read_yaml

TEXTS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))
LINES = st.text(st.sampled_from("ab:-#|>'\"%\t\r\n \x85\u2028\ufeffé")) | st.lists(TEXTS).map("\n".join)
AMBIGUOUS = ["y", "N", "on", "Off", "yes", "NO", "true", "null", "~", "", "1e3", "1", "0x1F", "0o17", "017", "1_000", "12:30", "2026-01-01"]


@given(TEXTS | LINES)
def test_any_text_is_read_back(text: str) -> None:
    tree = {"key": text, text or "empty": [text, {"nested": text}]}
    assert yaml.safe_load(write_document(tree)) == tree
    assert write_document(tree).isascii()


@given(LINES)
def test_the_gates_reader_gets_the_same(text: str) -> None:
    assert read_yaml(write_document({"key": text}), "r") == {"key": text}


@pytest.mark.parametrize("text", [*AMBIGUOUS, ".5", ".inf", "-", "=", "<<", "?", "a: b", "a #b", "---", "...", "{}", "*a", "&a", "!a"])
def test_what_some_reader_takes_for_something_else_is_quoted(text: str) -> None:
    assert write_document({"key": text}) == f"key: {json.dumps(text)}\n"
    assert write_document({text or "y": 1}) == f"{json.dumps(text or 'y')}: 1\n"


@pytest.mark.parametrize("text", ["a", "In", "train_me", "/fsx/runs/a.b", "registry.example/cpt", "p5.48xlarge"])
def test_a_word_stays_as_it_is(text: str) -> None:
    assert write_document({"key": text}) == f"key: {text}\n"


def test_lines_are_a_block_and_equal_parts_stand_twice() -> None:
    part: dict[str, Any] = {"script": "one\n  two\n"}
    assert write_document({"z": part, "a": part}) == "z:\n  script: |\n    one\n      two\na:\n  script: |\n    one\n      two\n"


@pytest.mark.parametrize("text", AMBIGUOUS)
def test_amazons_recipes_are_as_safe(text: str) -> None:
    assert amazon.render({"key": text}) == f'key: "{text}"\n'
    assert not is_word(text)
