"""The plugin that docs/plugins.md shows is a whole one: written out as it stands there, it passes its tests and is used."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from command import run_cpt
from installed import lay_out

from cpt import contracts

PAGE = (Path(__file__).parents[2] / "docs/plugins.md").read_text("utf-8")
FILES = dict(re.findall(r"^`([\w./]+)`\n\n```\w+\n(.*?)^```$", PAGE, flags=re.MULTILINE | re.DOTALL))
COMMANDS = re.findall(r"^cpt (.*)$", PAGE, flags=re.MULTILINE)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The page's files as typed, and installed."""
    for name, text in FILES.items():
        file = tmp_path / "cpt-paragraphs" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    lay_out(tmp_path / "cpt-paragraphs", tmp_path / "site")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "site"))
    return tmp_path / "cpt-paragraphs"


def test_the_page_shows_three_files_and_three_commands() -> None:
    assert list(FILES) == ["pyproject.toml", "src/cpt_paragraphs.py", "tests/test_paragraphs.py"]
    assert [shlex.split(command)[0] for command in COMMANDS] == ["plugins", "prepare", "train"]


def test_its_tests_pass(project: Path) -> None:
    argv = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "error"]
    done = subprocess.run(argv, cwd=project, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert " passed" in done.stdout


def test_its_commands_do_what_they_say(project: Path) -> None:
    paragraphs = [f"Valve {number} opens at {number * 7 % 40} bar, and closes again below that." for number in range(60)]
    (project / "manual.txt").write_text("\n\n".join(["Too short.", *paragraphs]))
    listing, prepare, train = (shlex.split(command) for command in COMMANDS)
    assert "paragraphs" in run_cpt(project, *listing).stdout
    assert json.loads(run_cpt(project, *prepare, "--json").stdout)["documents"] < 61
    recipe = run_cpt(project, *train, "--cfg", "job").stdout
    assert "source: paragraphs" in recipe
    refused = run_cpt(project, *train, "data.options.shortes=3", code=2).stderr
    assert "error: data.options.shortes: 3: unknown option. Did you mean shortest?" in refused


def test_every_method_of_a_contract_is_on_the_page() -> None:
    kinds = [contracts.DataSource, contracts.Launcher, contracts.Logger, contracts.Sweeper]
    names = {name for kind in kinds for name in vars(kind) if not name.startswith("_") and name != "Options"}
    assert {name for name in names if f"`{name}`" not in PAGE} == set()
