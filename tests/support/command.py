"""The command line in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path


def run_cpt(folder: Path, *words: str, code: int = 0) -> subprocess.CompletedProcess[str]:
    """Runs `cpt` in `folder`; it must end with `code` and show no traceback."""
    result = subprocess.run([sys.executable, "-m", "cpt", *words], cwd=folder, capture_output=True, text=True, timeout=240)
    assert result.returncode == code, f"{words}: {result.returncode}\n{result.stdout}\n{result.stderr}"
    assert "Traceback" not in result.stderr
    return result


def write_domain(folder: Path) -> Path:
    """`domain.jsonl`: 60 documents about a made-up machine."""
    lines = (f"Valve {n} of the press opens at {n * 7 % 40} bar and closes at {n * 3 % 20} bar; check seal {n % 9}." for n in range(60))
    file = folder / "domain.jsonl"
    file.write_text("".join(json.dumps({"text": line}) + "\n" for line in lines))
    return file
