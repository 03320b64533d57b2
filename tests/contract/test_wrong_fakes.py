"""Each contract suite catches what it is there for: a fake with one defect fails the one test that names it, and no other."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

import cpt.testing

FAKES = Path(__file__).parent / "fakes"
MODULES = ["wrong_data_sources", "wrong_imports", "wrong_launchers", "wrong_loggers", "wrong_sweepers"]
TESTS = """
import json, pathlib
import {module} as fakes

caught_by = {{name: fake.caught_by for name, fake in vars(fakes).items() if "caught_by" in getattr(fake, "__dict__", ())}}
pathlib.Path("caught_by.json").write_text(json.dumps(caught_by))
for name in caught_by:
    fake = getattr(fakes, name)
    given = {{"plugin": fake, "submits": getattr(fake, "submits", False)}}
    if caught_by[name] and not {whole}:
        given |= {{test: None for test in dir(fakes.Suite) if test.startswith("test_") and test != caught_by[name]}}
    globals()[f"Test{{name}}"] = type(f"Test{{name}}", (fakes.Suite,), given)
"""


def failures(module: str, folder: Path, *, whole: bool) -> dict[str, set[str]]:
    """The tests that each fake of a module fails: of its whole suite, or of none but the one that names its defect."""
    (folder / "torch.py").touch()
    (folder / "pytest.ini").touch()
    (folder / f"test_{module}.py").write_text(TESTS.format(module=module, whole=whole))
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(FAKES), str(folder)])}
    argv = [sys.executable, "-m", "pytest", "-q", "--junitxml", "report.xml"]
    done = subprocess.run(argv, cwd=folder, env=env, capture_output=True, text=True, timeout=280)
    assert done.returncode in (0, 1), done.stdout + done.stderr
    failed: dict[str, set[str]] = {}
    for case in ElementTree.parse(folder / "report.xml").iter("testcase"):
        tests = failed.setdefault(case.attrib["classname"].rpartition(".Test")[2], set())
        if case.find("failure") is not None or case.find("error") is not None:
            tests.add(case.attrib["name"].partition("[")[0])
    return failed


@pytest.mark.parametrize("whole", [pytest.param(False, id="one"), pytest.param(True, marks=pytest.mark.long, id="whole-suite")])
@pytest.mark.parametrize("module", MODULES)
def test_each_defect_is_caught_by_the_test_that_names_it(module: str, whole: bool, tmp_path: Path) -> None:
    failed = failures(module, tmp_path, whole=whole)
    caught_by = json.loads((tmp_path / "caught_by.json").read_text())
    assert failed == {fake: {test} if test else set() for fake, test in caught_by.items()}


def test_no_test_of_a_suite_is_without_a_fake_that_it_catches() -> None:
    suites = [getattr(cpt.testing, name) for name in cpt.testing.__all__]
    tests = {test for suite in suites for test in dir(suite) if test.startswith("test_")}
    sources = "".join((FAKES / f"{module}.py").read_text() for module in MODULES)
    assert {test for test in tests if f'caught_by = "{test}"' not in sources} == set()
