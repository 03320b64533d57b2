"""Files and functions stay short enough to read."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

SRC = Path(__file__).parents[2] / "src"
FILES = sorted(SRC.rglob("*.py"))
FILE_LINES, FILE_LINES_HARD, FUNCTION_LINES = 300, 400, 50
LONGER_FILES: dict[str, str] = {}
"""Path under src: why one subject needs more than 300 lines."""
LONGER_FUNCTIONS: dict[str, str] = {}
"""Path under src, `::`, name: why it needs more than 50 lines."""


def name(path: Path) -> str:
    return path.relative_to(SRC).as_posix()


def functions(source: str) -> dict[str, int]:
    """Lines of each function."""
    nodes = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    return {node.name: (node.end_lineno or 0) - node.lineno + 1 for node in nodes}


def long_functions(path: Path) -> set[str]:
    return {f"{name(path)}::{function}" for function, lines in functions(path.read_text()).items() if lines > FUNCTION_LINES}


@pytest.mark.parametrize("path", FILES, ids=name)
def test_a_file_holds_one_subject(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= (FILE_LINES_HARD if name(path) in LONGER_FILES else FILE_LINES)


@pytest.mark.parametrize("path", FILES, ids=name)
def test_a_function_fits_on_a_screen(path: Path) -> None:
    assert long_functions(path) <= LONGER_FUNCTIONS.keys()


def test_an_exception_that_is_no_longer_needed_goes() -> None:
    assert LONGER_FUNCTIONS.keys() <= set().union(*map(long_functions, FILES))
    assert LONGER_FILES.keys() <= {name(path) for path in FILES if len(path.read_text().splitlines()) > FILE_LINES}


def test_a_long_function_is_seen() -> None:
    assert functions("class C:\n    def f(self):\n" + "        pass\n" * 60) == {"f": 61}
