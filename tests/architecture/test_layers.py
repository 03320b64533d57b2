"""The import contracts of pyproject.toml hold, and can fail."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

pytest.importorskip("importlinter", reason="import-linter comes with `.[dev]`")
ROOT = Path(__file__).parents[2]


def lint_imports(root: Path) -> subprocess.CompletedProcess[str]:
    code = "import sys; from importlinter.cli import lint_imports_command; sys.exit(lint_imports_command(['--no-cache']))"
    environment = {**os.environ, "PYTHONPATH": str(root / "src")}
    return subprocess.run([sys.executable, "-c", code], cwd=root, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    shutil.copytree(ROOT / "src", tmp_path / "src")
    return tmp_path


def test_every_contract_holds() -> None:
    result = lint_imports(ROOT)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize(
    ("module", "line", "contract"),
    [
        ("data/jsonl.py", "import torch", "No torch this side of the worker"),
        ("plugins.py", "import lightning", "No torch this side of the worker"),
        ("data/jsonl.py", "import hydra", "Hydra only at the door"),
        ("errors.py", "import cpt.storage", "The house has storeys"),
        ("model/__init__.py", "import lightning", "The model is plain torch"),
    ],
)
def test_a_violation_is_found(copy: Path, module: str, line: str, contract: str) -> None:
    with (copy / "src/cpt" / module).open("a") as file:
        file.write(f"\n{line}\n")
    result = lint_imports(copy)
    assert result.returncode == 1
    assert f"{contract} BROKEN" in result.stdout


def test_every_module_stands_on_a_storey() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    storeys = {module for contract in contracts for layer in contract.get("layers", []) for module in layer.split(" | ")}
    modules = {f"cpt.{path.stem}" for path in (ROOT / "src/cpt").glob("[!_]*") if path.suffix == ".py" or (path / "__init__.py").exists()}
    assert modules <= storeys
