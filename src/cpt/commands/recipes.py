"""Verbs about recipes: composing one, translating to and from Amazon's."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from cpt.commands.output import warn, write

if TYPE_CHECKING:
    from cpt.composition import Composed


def composed(arguments: argparse.Namespace) -> Composed:
    """The recipe of a verb that takes one; its warnings are said."""
    from cpt import composition

    result = composition.compose(arguments.overrides, recipe_file=arguments.recipe, config_dir=arguments.config_dir)
    warn(result.warnings)
    return result


def import_recipe(arguments: argparse.Namespace) -> None:
    from cpt import composition

    composed = composition.compose(arguments.overrides, recipe_file=arguments.file)
    warn(composed.warnings)
    write(arguments.to, composition.job_yaml(composed, resolve=False))


def export_recipe(arguments: argparse.Namespace) -> None:
    from cpt.base import with_amazons_start
    from cpt.recipe import amazon

    write(arguments.to, amazon.render(amazon.to_amazon(with_amazons_start(composed(arguments).recipe))))
