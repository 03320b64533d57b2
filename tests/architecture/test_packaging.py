"""pyproject.toml, constraints.txt and the tree tell the same story."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

requirements = pytest.importorskip("packaging.requirements")

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
TEMPLATES = ROOT / "src/cpt/scaffold/templates"
"""Packages that are data."""
PINNED = dict(line.split("==") for line in (ROOT / "constraints.txt").read_text().splitlines() if line and not line.startswith("#"))


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def required() -> list[str]:
    extras = [line for extra in PROJECT["project"]["optional-dependencies"].values() for line in extra]
    return [line for line in PROJECT["project"]["dependencies"] + extras if not line.startswith(PROJECT["project"]["name"])]


def test_the_listed_packages_are_the_folders() -> None:
    packages = [path.parent for path in (ROOT / "src").rglob("__init__.py") if TEMPLATES not in path.parents]
    folders = {".".join(package.relative_to(ROOT / "src").parts) for package in packages}
    assert set(PROJECT["tool"]["setuptools"]["packages"]) == folders | {"cpt.conf"}


def test_each_data_file_of_a_package_is_declared() -> None:
    declared = {path for pattern in PROJECT["tool"]["setuptools"]["package-data"]["cpt"] for path in (ROOT / "src/cpt").glob(pattern)}
    files = [path for path in (ROOT / "src/cpt").rglob("*") if path.is_file() and path.suffix != ".pyc"]
    present = {path for path in files if path.suffix != ".py" or TEMPLATES in path.parents}
    assert present == {path for path in declared if path.is_file()}


@pytest.mark.parametrize("line", required())
def test_each_requirement_is_pinned_within_its_range(line: str) -> None:
    requirement = requirements.Requirement(line)
    assert requirement.specifier.contains(PINNED[normal(requirement.name)])


def test_pins_are_exact_public_versions_in_order() -> None:
    assert list(PINNED) == sorted(PINNED)
    assert not [pin for pin in PINNED.items() if "+" in pin[1] or normal(pin[0]) != pin[0]]


@pytest.mark.parametrize("group", ["data_sources", "launchers", "loggers", "sweepers"])
def test_each_built_in_is_registered_like_a_strangers_and_exists(group: str) -> None:
    for target in PROJECT["project"]["entry-points"][f"cpt.{group}"].values():
        module, _, name = target.partition(":")
        source = (ROOT / "src" / Path(*module.split("."))).with_suffix(".py").read_text()
        assert f"class {name}(" in source
