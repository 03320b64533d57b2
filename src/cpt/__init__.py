"""Continued pre-training of language models: the verbs of the command line, for notebooks.

    recipe = cpt.compose(["model=nova_tiny", "train.max_steps=20"])
    run = cpt.train(recipe)

Importing this imports nothing heavy; each name is fetched on first use.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cpt.api import Run, compose, evaluate, export, generate, plan, prepare, train, validate
    from cpt.recipe.schema import Recipe

__version__ = "0.1.0"
__all__ = ["Recipe", "Run", "compose", "evaluate", "export", "generate", "plan", "prepare", "train", "validate"]


def __dir__() -> list[str]:
    return [*globals(), *__all__]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'cpt' has no attribute {name!r}")
    return getattr(import_module("cpt.recipe.schema" if name == "Recipe" else "cpt.api"), name)
