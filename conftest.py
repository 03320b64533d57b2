"""Tests of plugins that are not installed are left out, and the header says which."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path


def _is_installed(name: str) -> bool:
    try:
        return distribution(name) is not None
    except PackageNotFoundError:
        return False


_MISSING = [folder.name for folder in sorted(Path(__file__).parent.glob("plugins/cpt-*")) if not _is_installed(folder.name)]
collect_ignore = [f"plugins/{name}" for name in _MISSING]


def pytest_report_header() -> list[str]:
    return [f"not installed, so not tested: {', '.join(_MISSING)}"] if _MISSING else []
