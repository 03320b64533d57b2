"""A stranger's package of one file works as any other: its tests pass, it is listed, and it is used by its name."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from command import run_cpt
from installed import lay_out

STRANGERS = Path(__file__).parents[1] / "third_party"


@pytest.fixture
def echo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    project = tmp_path / "cpt-data-echo"
    shutil.copytree(STRANGERS / "cpt-data-echo", project)
    lay_out(project, tmp_path / "site")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "site"))
    return project


def test_a_strangers_tests_pass(echo: Path) -> None:
    argv = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "error"]
    done = subprocess.run(argv, cwd=echo, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_strangers_plugin_is_listed_and_used(echo: Path) -> None:
    rows = json.loads(run_cpt(echo, "plugins", "--check", "--json").stdout)["plugins"]
    [row] = [row for row in rows if row["name"] == "echo"]
    assert row == {
        "kind": "data_sources",
        "name": "echo",
        "distribution": "cpt-data-echo",
        "version": "0.3.1",
        "value": "cpt_data_echo:EchoSource",
        "health": "ok",
        "options": ["times"],
    }
    data = [
        "data=jsonl",
        "data.source=echo",
        "data.train=[one document, another one]",
        "data.validation=[held out]",
        "data.options.times=3",
    ]
    facts = json.loads(run_cpt(echo, "prepare", *data, "--json").stdout)
    assert facts["documents"] == 2
