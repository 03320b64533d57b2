"""What a user or a plugin's author reads in an editor is there."""

from __future__ import annotations

import ast
import importlib.util
import inspect
from pathlib import Path

import pytest
from pydantic import BaseModel

import cpt
from cpt import contracts, errors
from cpt.recipe import schema
from cpt.recipe.architecture import Architecture
from cpt.recipe.frozen import Frozen


def undocumented(source: str) -> list[str]:
    """Public functions, classes and methods of a module that have no docstring."""
    found: list[str] = []
    scopes: list[tuple[str, ast.AST]] = [("", ast.parse(source))]
    while scopes:
        prefix, scope = scopes.pop()
        for node in ast.iter_child_nodes(scope):
            if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
                found += [] if ast.get_docstring(node) else [prefix + node.name]
                scopes += [(f"{prefix}{node.name}.", node)] if isinstance(node, ast.ClassDef) else []
    return found


@pytest.mark.parametrize("name", cpt.__all__)
def test_each_name_of_the_public_list_has_one_and_is_no_module(name: str) -> None:
    """A module of the same name would take the verb's place in `cpt` as soon as anything imports it."""
    assert inspect.getdoc(getattr(cpt, name))
    assert importlib.util.find_spec(f"cpt.{name}") is None


@pytest.mark.parametrize("module", [contracts, errors])
def test_each_contract_has_one(module: object) -> None:
    assert undocumented(Path(inspect.getfile(module)).read_text()) == []  # type: ignore[arg-type]


def test_one_that_is_missing_is_seen() -> None:
    assert undocumented("class A:\n    def f(self): ...\n    def _g(self): ...\ndef h():\n    '''H.'''") == ["A", "A.f"]


def fields() -> list[tuple[str, str, bool]]:
    """(group, key, whether it says what it means) of every key of the recipe; a group's own page is its class."""
    models = [model for model in vars(schema).values() if inspect.isclass(model) and issubclass(model, BaseModel)]
    groups = [model for model in models if model not in (Frozen, Architecture, schema.Recipe)]
    return [(model.__name__, key, bool(field.description)) for model in groups for key, field in model.model_fields.items()]


@pytest.mark.parametrize(("group", "key", "is_described"), fields())
def test_each_key_of_the_recipe_says_what_it_means(group: str, key: str, is_described: bool) -> None:
    assert is_described, f"{group}.{key}"
