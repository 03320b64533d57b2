"""The real inputs as fixtures; a test that asks for one is skipped with the reason where it cannot be had."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

# As the user has it, before tests/conftest.py hides the user's cache: fetched once, not once a test session.
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}


def fetched(what: str) -> Path:
    """The folder of a real input, fetched by a process of its own: converting the model takes gigabytes that the tests keep free."""
    argv = [sys.executable, str(Path(__file__).with_name("inputs.py")), what]
    result = subprocess.run(argv, capture_output=True, text=True, env=ENVIRONMENT, check=False)
    if result.returncode == 2:
        pytest.skip(result.stderr.strip().splitlines()[-1])
    assert result.returncode == 0, result.stderr
    return Path(result.stdout.strip())


@pytest.fixture(scope="session")
def smollm2() -> Path:
    """SmolLM2-135M as a Hugging Face folder, fp32."""
    return fetched("model")


@pytest.fixture(scope="session")
def manual() -> Path:
    """A folder with train.jsonl (125 k of SmolLM2's tokens) and heldout.jsonl (30 pages, 18 k tokens) of a technical manual."""
    return fetched("manual")


@pytest.fixture(scope="session")
def general() -> Path:
    """A folder with heldout.jsonl: 19 k of SmolLM2's tokens of text far from the manual."""
    return fetched("general")
