"""A plugin's own settings."""

from __future__ import annotations

from cpt.recipe.frozen import Frozen


class NoOptions(Frozen):
    """The options of a plugin that has none."""
