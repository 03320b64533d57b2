"""Prints constraints.txt: the installed version of everything that the project, its plugins and their extras need, and what those need.

python dev/constraints.py > constraints.txt      in an environment where the tests pass
"""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

PLUGINS = Path(__file__).parents[1] / "plugins"
EXTRAS = {"cpt-train": ("", "test", "dev")} | {folder.name: ("", "test") for folder in PLUGINS.iterdir()}


def pins() -> dict[str, str]:
    """Canonical name to public version, over the closure of the requirements that apply here."""
    found: dict[str, str] = {}
    seen: set[tuple[str, str]] = set()
    wanted = [(name, extra) for name, extras in EXTRAS.items() for extra in extras]
    while wanted:
        name, extra = wanted.pop()
        if (name, extra) in seen:
            continue
        seen.add((name, extra))
        try:
            package = distribution(name)
        except PackageNotFoundError as error:
            raise SystemExit(f"{name} is required and not installed") from error
        found[name] = package.version.partition("+")[0]
        for line in package.requires or ():
            requirement = Requirement(line)
            if requirement.marker is None or requirement.marker.evaluate({"extra": extra}):
                wanted += [(canonicalize_name(requirement.name), of) for of in ("", *requirement.extras)]
    return {name: version for name, version in sorted(found.items()) if name not in EXTRAS}


if __name__ == "__main__":
    print("# Tested versions; written by dev/constraints.py.")
    print("\n".join(f"{name}=={version}" for name, version in pins().items()))
