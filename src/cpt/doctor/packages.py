"""Installed packages against the ranges that they ask for, and the plugins. Metadata only: nothing is imported."""

from __future__ import annotations

import platform
from collections.abc import Iterable, Iterator
from importlib.metadata import Distribution, PackageNotFoundError, distribution

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from cpt import offers
from cpt.doctor.finding import Finding, Level
from cpt.recipe.schema import Recipe


def packages(recipe: Recipe) -> Iterator[Finding]:  # noqa: ARG001  as every check
    """The core's requirements, each against what is installed."""
    core = distribution(offers.CORE)
    wanted = list(_requirements(core))
    faults = [*_python_fault(core), *_mismatches(wanted)]
    versions = {requirement.name: _version(requirement.name) for requirement in wanted}
    if faults:
        cure = f"pip install --upgrade {offers.CORE}=={core.version}"
        yield Finding("packages", f"{core.name} {core.version}: {'; '.join(faults)}", Level.PROBLEM, cure, versions)
    else:
        yield Finding("packages", f"{core.name} {core.version} and its {len(wanted)} requirements, all within range", figures=versions)


def plugin_packages(recipe: Recipe) -> Iterator[Finding]:
    """The plugins by kind, and what is wrong with them: a problem where the recipe asks for one, else a warning."""
    found = {kind: offers.health(kind) for kind in offers.KINDS}
    names: dict[str, list[str]] = {
        kind: list(dict.fromkeys(plugin.name for plugin, _ in plugins)) for kind, plugins in found.items() if plugins
    }
    text = " · ".join(f"{kind.replace('_', ' ')}: {', '.join(several)}" for kind, several in names.items())
    yield Finding("plugins", text, figures=names)
    asked = _asked(recipe)
    for kind, name in sorted(asked):
        if name not in names.get(kind, []):
            package = offers.OFFERED_BY.get((kind, name))
            cure = f"pip install {package}" if package else "cpt plugins lists what is installed"
            yield Finding("plugins", f"{offers.GROUPS[kind]}: no installed package offers {name}", Level.PROBLEM, cure)
    for kind, plugins in found.items():
        for plugin, fault in plugins:
            faults = [fault] if fault else _mismatches(_requirements(_distribution(plugin.distribution)))
            level = Level.PROBLEM if (kind, plugin.name) in asked else Level.WARNING
            for one in faults:
                yield Finding("plugins", f"{plugin.name} of {plugin}: {one}", level, "mend or uninstall it")


def _asked(recipe: Recipe) -> set[tuple[offers.Kind, str]]:
    """The plugins that the recipe names."""
    asked: set[tuple[offers.Kind, str]] = {("data_sources", recipe.data.source), *(("loggers", name) for name in recipe.logger)}
    return asked | ({("launchers", recipe.launcher.name)} if recipe.launcher.name != "auto" else set())


def _requirements(of: Distribution | None) -> Iterator[Requirement]:
    """What a distribution asks for on this machine, its extras left out."""
    for text in (of and of.requires) or []:
        requirement = Requirement(text)
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            yield requirement


def _mismatches(requirements: Iterable[Requirement]) -> list[str]:
    """What is missing or out of range."""
    faults = []
    for requirement in requirements:
        version = _version(requirement.name)
        if version is None:
            faults.append(f"{requirement.name} is not installed")
        elif not requirement.specifier.contains(version, prereleases=True):
            faults.append(f"{requirement.name} {version} is not {requirement.specifier}")
    return faults


def _python_fault(core: Distribution) -> Iterator[str]:
    asked, here = SpecifierSet(core.metadata["Requires-Python"] or ""), platform.python_version()
    if not asked.contains(here, prereleases=True):
        yield f"Python {here} is not {asked}"


def _version(name: str) -> str | None:
    found = _distribution(name)
    return found.version if found else None


def _distribution(name: str) -> Distribution | None:
    try:
        return distribution(name)
    except PackageNotFoundError:
        return None
