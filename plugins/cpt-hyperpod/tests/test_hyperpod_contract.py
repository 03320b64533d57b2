"""What every launcher promises. No job of this one can run here: Amazon's engine is Amazon's."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import pytest

from cpt.contracts import Task
from cpt.testing import LauncherContract
from cpt_hyperpod import HyperpodLauncher

README = Path(__file__).parents[1] / "README.md"


class TestHyperpodLauncher(LauncherContract):
    plugin = HyperpodLauncher
    options: ClassVar[dict[str, Any]] = {"cluster": "nova"}

    @pytest.fixture
    def task(self, nova_task: Callable[..., Task]) -> Task:
        return nova_task()

    @pytest.fixture(autouse=True)
    def _kubernetes(self, request: pytest.FixtureRequest) -> None:
        """Only what asks for a job needs kubectl."""
        if "unknown" in request.fixturenames:
            request.getfixturevalue("kubernetes")


def test_the_readme_names_every_option() -> None:
    rows = re.findall(r"^\| (`.+?) \|", README.read_text(), re.MULTILINE)
    assert {name for row in rows for name in re.findall(r"`(\w+)`", row)} >= set(HyperpodLauncher.Options.model_fields)
