"""The command line as a person uses it: real processes in a folder of their own."""

from __future__ import annotations

import functools
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from command import run_cpt, write_domain


@pytest.fixture
def cpt(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """`cpt(*words, code=0)` runs the command in `tmp_path`, where `domain.jsonl` is; `code` is the exit code it must end with."""
    write_domain(tmp_path)
    return functools.partial(run_cpt, tmp_path)
