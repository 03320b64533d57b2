"""cpt's own suite for launchers, on a real Slurm of two nodes."""

from __future__ import annotations

from typing import ClassVar

import pytest

from cpt.testing import LauncherContract
from cpt_slurm import SlurmLauncher


@pytest.mark.usefixtures("cluster")
class TestSlurmLauncher(LauncherContract):
    plugin = SlurmLauncher
    submits: ClassVar[bool] = True
    nodes: ClassVar[int] = 2
    patience_s: ClassVar[float] = 30.0
