"""The command line as a person uses it: real processes in a folder of their own."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

Cpt = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def documents(tmp_path: Path) -> Path:
    """A small domain: 60 documents about a made-up machine, in `domain.jsonl`."""
    file = tmp_path / "domain.jsonl"
    lines = (f"Valve {n} of the press opens at {n * 7 % 40} bar and closes at {n * 3 % 20} bar; check seal {n % 9}." for n in range(60))
    file.write_text("".join(json.dumps({"text": line}) + "\n" for line in lines))
    return file


@pytest.fixture
def cpt(tmp_path: Path, documents: Path) -> Cpt:
    """`cpt(*words)` runs the command in `tmp_path`, where `domain.jsonl` is; `code` is the exit code it must end with."""

    def run(*words: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        result = subprocess.run([sys.executable, "-m", "cpt", *words], cwd=tmp_path, capture_output=True, text=True, timeout=240)
        assert result.returncode == code, f"{words}: {result.returncode}\n{result.stdout}\n{result.stderr}"
        assert "Traceback" not in result.stderr
        return result

    return run
