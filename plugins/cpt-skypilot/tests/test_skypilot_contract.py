"""What any launcher promises, kept with a stand-in for sky that runs the rendered scripts here."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import ClassVar

import pytest

from cpt.testing import LauncherContract
from cpt_skypilot import SkypilotLauncher


@pytest.mark.usefixtures("shared_sky_jobs")
class TestSkypilot(LauncherContract):
    plugin = SkypilotLauncher
    options: ClassVar[Mapping[str, object]] = {"python": sys.executable, "image": "docker:registry.example/cpt:0.1"}
    submits = True
    nodes = 2
    patience_s = 30.0
