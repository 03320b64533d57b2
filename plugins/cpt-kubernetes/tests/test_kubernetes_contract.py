"""What any launcher promises, kept against an API server that runs the pods' commands here."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping
from typing import ClassVar

import pytest

from cpt.testing import LauncherContract
from cpt_kubernetes import KubernetesLauncher


class TestKubernetes(LauncherContract):
    plugin = KubernetesLauncher
    options: ClassVar[Mapping[str, object]] = {
        "image": "registry.example/cpt:0.1",
        "python": sys.executable,
        "backoff_limit": 0,
        "grace_s": 2,
    }
    submits = shutil.which("kubectl") is not None
    nodes = 2
    patience_s = 30.0

    @pytest.fixture(autouse=True)
    def _cluster(self, request: pytest.FixtureRequest) -> None:
        """Without kubectl only what asks for a job is skipped: to render needs none."""
        if self.submits or "unknown" in request.fixturenames:
            request.getfixturevalue("shared_cluster")
