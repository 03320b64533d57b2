"""What every launcher promises. No job of this one can run here: Amazon's engine is Amazon's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import pytest

from cpt.contracts import Task
from cpt.testing import LauncherContract
from cpt_hyperpod import HyperpodLauncher


@pytest.mark.usefixtures("kubernetes")
class TestHyperpodLauncher(LauncherContract):
    plugin = HyperpodLauncher
    options: ClassVar[dict[str, Any]] = {"cluster": "nova"}

    @pytest.fixture
    def task(self, nova_task: Callable[..., Task]) -> Task:
        return nova_task()
