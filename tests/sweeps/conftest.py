"""Sweeps in a folder, and a runner whose members train nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from fake_runner import FakeRunner, Seen

from cpt.composition import open_sweep
from cpt.sweeps.sweep import Sweep


@pytest.fixture
def runner() -> Iterator[FakeRunner]:
    made = FakeRunner()
    yield made
    made.close()


@pytest.fixture
def seen() -> Seen:
    return Seen()


class Opening:
    """Opens a sweep in a folder, as a command does."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(self, *words: str) -> Sweep:
        sweep = Sweep.open(open_sweep([f"run.output={self.folder}", "run.name=s", *words]))
        sweep.read()
        sweep.keep()
        return sweep


@pytest.fixture
def opened(tmp_path: Path) -> Opening:
    return Opening(tmp_path)
