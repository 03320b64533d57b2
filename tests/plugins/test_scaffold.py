"""`cpt plugins new` writes a package that works as it is; names and folders that are taken are refused, and nothing is written over."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from command import run_cpt
from installed import lay_out

from cpt import scaffold
from cpt.errors import PluginError


def faults(kind: str, name: str, to: Path | None = None) -> list[str]:
    with pytest.raises(PluginError) as error:
        scaffold.write(kind, name, None if to is None else str(to))
    return [str(fault) for fault in error.value.faults]


@pytest.mark.parametrize("kind", scaffold.KINDS)
def test_a_new_package_passes_its_tests_and_is_well(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said = run_cpt(tmp_path, "plugins", "new", kind, "fresh_one").stdout
    assert said.startswith(f"cpt-fresh-one: cpt-fresh-one, a {kind.replace('_', ' ')} that works as it is")
    lay_out(tmp_path / "cpt-fresh-one", tmp_path / "site")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "site"))
    tests = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "error"]
    done = subprocess.run(tests, cwd=tmp_path / "cpt-fresh-one", capture_output=True, text=True, env=os.environ)
    assert done.returncode == 0, done.stdout + done.stderr
    rows = json.loads(run_cpt(tmp_path, "plugins", "--json").stdout)["plugins"]
    assert [row["health"] for row in rows if row["name"] == "fresh_one"] == ["ok", "ok"]


@pytest.mark.parametrize("kind", scaffold.KINDS)
def test_nothing_of_the_template_is_left(kind: str, tmp_path: Path) -> None:
    scaffold.write(kind, "my_queue", str(tmp_path / "new"))
    files = [path for path in (tmp_path / "new").rglob("*") if path.is_file()]
    assert [path for path in files if "acme" in (str(path.relative_to(tmp_path)) + path.read_text()).lower()] == []
    project = tomllib.loads((tmp_path / "new/pyproject.toml").read_text())["project"]
    assert project["name"] == "cpt-my-queue"
    assert (tmp_path / "new/src/cpt_my_queue/__init__.py").read_text().count("class MyQueue") == 2


@pytest.mark.parametrize(
    "name", ["", "My-Queue", "my-queue", "1st", "a__b", "_a", "a_", "../up", "a/b", "a b", "a\nb", "a" * 41, "été", "class"]
)
def test_a_name_that_is_no_name_is_refused(name: str, tmp_path: Path) -> None:
    [fault] = faults("launcher", name, tmp_path / "new")
    assert "lowercase letters, digits and underscores" in fault
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("kind", "name", "owner"),
    [
        ("data_source", "jsonl", "cpt-train has a data source"),
        ("launcher", "slurm", "cpt-slurm has a launcher"),
        ("logger", "slurm", "cpt-slurm has a logger, package or module"),
        ("logger", "train", "cpt-train has a logger, package"),
        ("launcher", "auto", "launcher=auto is an option already"),
    ],
)
def test_a_name_that_is_taken_is_refused(kind: str, name: str, owner: str, tmp_path: Path) -> None:
    [fault] = faults(kind, name, tmp_path / "new")
    assert owner in fault


def test_nothing_is_written_over_and_all_faults_come_at_once(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("mine")
    name, folder = faults("launcher", "No", tmp_path / "mine")
    assert name.startswith("NAME: No: ")
    assert "exists already, and nothing is written over" in folder
    assert (tmp_path / "mine").read_text() == "mine"
