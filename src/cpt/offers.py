"""What installed distributions offer, as their metadata says it: nothing is imported, and nothing here is slow to import.

A distribution offers plugins by a table a kind:

    [project.entry-points."cpt.loggers"]
    aim = "cpt_aim:AimLogger"

Kinds: `data_sources`, `launchers`, `loggers` and `sweepers` (classes of `cpt.contracts`), and `recipes` (a package whose folder holds
recipe groups).
"""

from __future__ import annotations

from importlib.machinery import ModuleSpec, PathFinder
from importlib.metadata import Distribution, EntryPoint, entry_points
from importlib.util import find_spec
from typing import Literal, NamedTuple, get_args

from cpt import __version__

Kind = Literal["data_sources", "launchers", "loggers", "sweepers", "recipes"]

KINDS: tuple[Kind, ...] = get_args(Kind)
GROUPS = {"data_sources": "data", "launchers": "launcher", "loggers": "logger", "sweepers": "sweeper"}
"""Kinds whose plugins are options of a recipe group, and of which."""
OFFERED_BY = {
    ("data_sources", "hf_datasets"): "cpt-hf-datasets",
    ("launchers", "hyperpod"): "cpt-hyperpod",
    ("launchers", "kubernetes"): "cpt-kubernetes",
    ("launchers", "skypilot"): "cpt-skypilot",
    ("launchers", "slurm"): "cpt-slurm",
    ("loggers", "aim"): "cpt-aim",
    ("loggers", "wandb"): "cpt-wandb",
    ("sweepers", "optuna"): "cpt-optuna",
}
"""Distributions of this project that offer what the core leaves out."""
CORE = "cpt-train"


class Plugin(NamedTuple):
    """What a distribution's metadata says of one plugin; as text, who offers it: `cpt-slurm 0.1.0 (cpt_slurm:SlurmLauncher)`."""

    name: str
    distribution: str
    version: str
    value: str
    """`package.module:Class`; of recipes, the package."""

    def __str__(self) -> str:
        return f"{self.distribution} {self.version} ({self.value})"


def installed(kind: Kind) -> list[Plugin]:
    """The plugins of a kind, by name."""
    return sorted(map(describe, points(kind)))


def points(kind: Kind) -> list[EntryPoint]:
    """The entry points of a kind."""
    return list(entry_points(group=f"cpt.{kind}"))


def describe(point: EntryPoint) -> Plugin:
    """What the metadata around an entry point says."""
    distribution = point.dist
    name, version = (distribution.name, distribution.version) if distribution else ("unknown", "")
    return Plugin(point.name, name, version, point.value)


def package_of(group: str, option: str) -> str | None:
    """The distribution of this project that offers `option` of a recipe group, if one does."""
    return next((package for (kind, name), package in OFFERED_BY.items() if (GROUPS[kind], name) == (group, option)), None)


def missing() -> dict[tuple[str, str], str]:
    """What of `OFFERED_BY` is not installed."""
    here = {(kind, point.name) for kind in GROUPS for point in entry_points(group=f"cpt.{kind}")}
    return {key: package for key, package in OFFERED_BY.items() if key not in here}


def health(kind: Kind) -> list[tuple[Plugin, str]]:
    """Each plugin of a kind, by name, and what is wrong with it; empty where nothing is."""
    found = sorted((describe(point), point) for point in points(kind))
    return [(plugin, _fault(kind, point, [rival for rival, _ in found if rival.name == plugin.name])) for plugin, point in found]


def core_fault(distribution: Distribution | None) -> str:
    """Why a distribution is not for this version of the core; empty where it is."""
    from packaging.requirements import Requirement  # noqa: PLC0415  (most of what a listing costs; the core's own need none)
    from packaging.utils import canonicalize_name  # noqa: PLC0415

    for requirement in map(Requirement, (distribution and distribution.requires) or ()):
        if canonicalize_name(requirement.name) == CORE and not requirement.specifier.contains(__version__, prereleases=True):
            return f"needs {CORE}{requirement.specifier}, and this is {__version__}"
    return ""


def _fault(kind: Kind, point: EntryPoint, rivals: list[Plugin]) -> str:
    if len(rivals) > 1 and kind != "recipes":
        return f"offered more than once, by {' and '.join(map(str, rivals))}"
    if _spec(point.module) is None:
        return f"there is no module {point.module}"
    return core_fault(point.dist)


def _spec(module: str) -> ModuleSpec | None:
    """Where a module is: the search that an import does, without running the packages above it."""
    top, *rest = module.split(".")
    spec = find_spec(top)
    for part in rest:
        if spec is None:
            return None
        spec = PathFinder.find_spec(part, spec.submodule_search_locations or [])
    return spec
