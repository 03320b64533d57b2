"""What cpt asks of any launcher, and what this one adds."""

from __future__ import annotations

from importlib.metadata import entry_points
from pathlib import Path

from cpt_acme import AcmeLauncher

import cpt
from cpt.contracts import JobRef, JobState
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


def test_a_job_that_a_reboot_has_ended_is_not_running(tmp_path: Path) -> None:
    (tmp_path / "0.log").touch()
    assert AcmeLauncher(AcmeLauncher.Options()).status(JobRef("0-99999999", "job", str(tmp_path))).state is JobState.FAILED
