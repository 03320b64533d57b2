"""What any launcher promises, kept against an API server that runs the pods' commands here."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import ClassVar

import pytest

from cpt.testing import LauncherContract
from cpt_kubernetes import KubernetesLauncher


@pytest.mark.usefixtures("shared_cluster")
class TestKubernetes(LauncherContract):
    plugin = KubernetesLauncher
    options: ClassVar[Mapping[str, object]] = {
        "image": "registry.example/cpt:0.1",
        "python": sys.executable,
        "backoff_limit": 0,
        "grace_s": 2,
    }
    submits = True
    nodes = 2
    patience_s = 30.0
