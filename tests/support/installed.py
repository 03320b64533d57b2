"""Packages on the path as an installer would leave them, without one."""

from __future__ import annotations

import shutil
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def lay_out(project: Path, site: Path) -> None:
    """Puts the code under `project/src` into `site`, and beside it the metadata that `project/pyproject.toml` asks for."""
    shutil.copytree(project / "src", site, dirs_exist_ok=True)
    table = tomllib.loads((project / "pyproject.toml").read_text())["project"]
    info = site / f"{table['name'].replace('-', '_')}-{table['version']}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("".join(f"{line}\n" for line in _metadata(table)))
    groups = table["entry-points"].items()
    (info / "entry_points.txt").write_text("".join(f"[{group}]\n{_lines(entries)}" for group, entries in groups))


def _metadata(table: dict[str, Any]) -> Iterator[str]:
    yield from ("Metadata-Version: 2.1", f"Name: {table['name']}", f"Version: {table['version']}")
    yield from (f"Requires-Dist: {requirement}" for requirement in table["dependencies"])


def _lines(entries: dict[str, str]) -> str:
    return "".join(f"{name} = {value}\n" for name, value in entries.items())
