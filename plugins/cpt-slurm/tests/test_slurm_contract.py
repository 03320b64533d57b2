"""cpt's own suite for launchers: what it asks of texts anywhere, what it asks of jobs on a real Slurm of two nodes."""

from __future__ import annotations

from typing import ClassVar

import pytest

from cpt.testing import LauncherContract
from cpt_slurm import SlurmLauncher


class TestSlurmLauncher(LauncherContract):
    plugin = SlurmLauncher
    submits: ClassVar[bool] = True
    nodes: ClassVar[int] = 2
    patience_s: ClassVar[float] = 30.0

    @pytest.fixture(autouse=True)
    def _cluster_for_jobs(self, request: pytest.FixtureRequest) -> None:
        """For the tests that submit, and those that ask about a job."""
        if hasattr(request.function, "claim") or "unknown" in request.fixturenames:
            request.getfixturevalue("cluster")
