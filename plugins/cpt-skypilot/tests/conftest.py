"""SkyPilot for the tests: a stand-in for its jobs, and the real one, where there is one, for what needs no cloud."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

SUPPORT = Path(__file__).parent / "support"


@contextmanager
def stand_in(folder: Path) -> Iterator[Path]:
    """The program `sky` on PATH is the stand-in, meanwhile; its folder."""
    program = folder / "bin" / "sky"
    program.parent.mkdir()
    program.write_text(f"#!{sys.executable}\n" + (SUPPORT / "sky_stand_in.py").read_text())
    program.chmod(0o755)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", str(program.parent), prepend=os.pathsep)
        patch.setenv("SKY_STAND_IN", str(folder))
        yield folder


@pytest.fixture
def sky_jobs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The stand-in of a test's own."""
    with stand_in(tmp_path_factory.mktemp("sky")) as folder:
        yield folder


@pytest.fixture(scope="class")
def shared_sky_jobs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The stand-in for the tests of a class, there before and after each."""
    with stand_in(tmp_path_factory.mktemp("sky")) as folder:
        yield folder


OWN_PYTHON = Path(__file__).parents[3] / ".venv-skypilot" / "bin" / "python"


def skypilot_version(python: str) -> tuple[int, ...]:
    """Of the SkyPilot that `python` has; empty where there is none."""
    code = "from importlib.metadata import version; print(version('skypilot'))"
    found = subprocess.run([python, "-c", code], capture_output=True, text=True, check=False)
    return tuple(int(part) for part in found.stdout.split(".")[:2] if part.isdigit())


@pytest.fixture
def real_sky(tmp_path: Path) -> Callable[[dict[str, Any]], Any]:
    """Asks SkyPilot itself (`support/ask_sky.py`); it reaches no network.

    Its pins contradict those of W&B and of the Hugging Face hub, so it lives in an environment of its own: the Python that CPT_SKY_PYTHON
    names, else that of `.venv-skypilot` in the checkout, else this one.
    """
    python = os.environ.get("CPT_SKY_PYTHON") or (str(OWN_PYTHON) if OWN_PYTHON.exists() else sys.executable)
    if skypilot_version(python) < (0, 14):
        pytest.skip(
            "SkyPilot 0.14 or later is not installed here: python3 -m venv .venv-skypilot && .venv-skypilot/bin/pip install skypilot"
        )
    nowhere = {f"{scheme}_proxy": "http://127.0.0.1:9" for scheme in ("http", "https", "HTTP", "HTTPS")}
    environ = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "SKYPILOT_DISABLE_USAGE_COLLECTION": "1", "TOKEN": "x", **nowhere}

    def ask(question: dict[str, Any]) -> Any:
        argv = [python, str(SUPPORT / "ask_sky.py")]
        done = subprocess.run(argv, input=json.dumps(question), env=environ, capture_output=True, text=True, cwd=tmp_path, check=False)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout.splitlines()[-1])

    return ask
