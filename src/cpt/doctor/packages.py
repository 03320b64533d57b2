"""Installed packages against the ranges that they ask for, and the plugins. Metadata only: nothing is imported."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from typing import get_args

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from cpt import plugins
from cpt.doctor.finding import Finding, Level
from cpt.recipe.schema import Recipe

CORE = "cpt-train"


def packages(recipe: Recipe) -> Iterator[Finding]:  # noqa: ARG001  as every check
    """The core's requirements, each against what is installed."""
    core = distribution(CORE)
    wanted = list(_requirements(core))
    faults = [*_python_fault(core), *(fault for requirement in wanted if (fault := _mismatch(requirement)))]
    versions = {requirement.name: _version(requirement.name) for requirement in wanted}
    if faults:
        cure = f"pip install --upgrade {CORE}=={core.version}"
        yield Finding("packages", f"{core.name} {core.version}: {'; '.join(faults)}", Level.PROBLEM, cure, versions)
    else:
        yield Finding("packages", f"{core.name} {core.version} and its {len(wanted)} requirements, all within range", figures=versions)


def plugin_packages(recipe: Recipe) -> Iterator[Finding]:  # noqa: ARG001  as every check
    """The plugins by kind; those whose package asks for versions that are not here are problems."""
    offered = {kind: plugins.installed(kind) for kind in get_args(plugins.Kind)}
    names = {kind: [plugin.name for plugin in found] for kind, found in offered.items()}
    text = " · ".join(f"{kind.replace('_', ' ')}: {', '.join(dict.fromkeys(found)) or 'none'}" for kind, found in names.items())
    yield Finding("plugins", text, figures=names)
    for found in offered.values():
        for name in sorted({plugin.name for plugin in found if len([one for one in found if one.name == plugin.name]) > 1}):
            rivals = " and ".join(plugin.distribution for plugin in found if plugin.name == name)
            yield Finding("plugins", f"{name} is offered more than once, by {rivals}", Level.WARNING, "uninstall all but one")
    for package in sorted({plugin.distribution for found in offered.values() for plugin in found} - {CORE}):
        yield from _package(distribution(package))


def _package(package: Distribution) -> Iterator[Finding]:
    if faults := [fault for requirement in _requirements(package) if (fault := _mismatch(requirement))]:
        text = f"{package.name} {package.version}: {'; '.join(faults)}"
        yield Finding("plugins", text, Level.PROBLEM, f"pip install --upgrade {package.name}")


def _requirements(of: Distribution) -> Iterator[Requirement]:
    """What a distribution asks for on this machine, its extras left out."""
    for text in of.requires or []:
        requirement = Requirement(text)
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            yield requirement


def _mismatch(requirement: Requirement) -> str:
    """What is wrong with what is installed; empty where nothing is."""
    version = _version(requirement.name)
    if version is None:
        return f"{requirement.name} is not installed"
    if not requirement.specifier.contains(version, prereleases=True):
        return f"{requirement.name} {version} is not {requirement.specifier}"
    return ""


def _python_fault(core: Distribution) -> Iterator[str]:
    asked, here = SpecifierSet(core.metadata["Requires-Python"] or ""), platform.python_version()
    if not asked.contains(here, prereleases=True):
        yield f"Python {here} is not {asked}"


def _version(name: str) -> str | None:
    try:
        return distribution(name).version
    except PackageNotFoundError:
        return None
