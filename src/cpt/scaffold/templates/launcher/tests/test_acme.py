"""What cpt asks of any launcher, and what this one adds."""

from __future__ import annotations

from importlib.metadata import entry_points

from cpt_acme import AcmeLauncher

import cpt
from cpt.testing import LauncherContract


class TestContract(LauncherContract):
    plugin = AcmeLauncher
    submits = True  # false on a machine that reaches no queue: then all that needs none is still checked


def test_it_is_installed_under_its_name() -> None:
    [point] = entry_points(group="cpt.launchers", name="acme")
    assert point.load() is AcmeLauncher


def test_a_recipe_chooses_it() -> None:
    recipe = cpt.compose(["launcher=acme", "launcher.options.queue=night"])
    assert (recipe.launcher.name, recipe.launcher.options) == ("acme", {"queue": "night"})
