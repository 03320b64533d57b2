"""Plugin packages to begin from: `templates/KIND` is a whole one, named acme, that works and passes its tests; it is copied and renamed."""

from __future__ import annotations

import keyword
import re
from collections.abc import Iterator
from importlib.metadata import distributions
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from cpt import offers
from cpt.errors import Fault, PluginError
from cpt.offers import Kind

KINDS: dict[str, Kind] = {"data_source": "data_sources", "launcher": "launchers", "logger": "loggers"}
TEMPLATES = Path(str(files(__name__))) / "templates"
NAME = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
LONGEST = 40


class Names(NamedTuple):
    """What a plugin is called, where."""

    plugin: str

    @property
    def distribution(self) -> str:
        """Of the package: `cpt-my-queue`."""
        return f"cpt-{self.plugin.replace('_', '-')}"

    @property
    def module(self) -> str:
        """Of the code: `cpt_my_queue`."""
        return f"cpt_{self.plugin}"

    def rename(self, text: str) -> str:
        """`text` of a template with these names in it."""
        stem = "".join(word.capitalize() for word in self.plugin.split("_"))
        return text.replace("cpt-acme", self.distribution).replace("acme", self.plugin).replace("Acme", stem)


def write(kind: str, name: str, to: str | None = None) -> list[str]:
    """Writes a package with a working plugin, its recipe option, README and passing tests.

    Args:
        kind: One of `KINDS`.
        name: What recipes will call the plugin.
        to: The new folder; `./cpt-NAME` by default.

    Returns:
        What to do next, for a person.

    Raises:
        PluginError: The name is no name or taken, or the folder exists; all of them.
    """
    names = Names(name)
    folder = Path(to or names.distribution)
    if faults := [*_name_faults(kind, names), *_folder_faults(folder)]:
        raise PluginError.of(faults)
    for source in _template(kind):
        target = folder / names.rename(source.relative_to(TEMPLATES / kind).as_posix())
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(names.rename(source.read_text(encoding="utf-8")), encoding="utf-8")
    return _next_steps(kind, names, folder)


def _template(kind: str) -> list[Path]:
    return [path for path in sorted((TEMPLATES / kind).rglob("*")) if path.is_file() and "__pycache__" not in path.parts]


def _name_faults(kind: str, names: Names) -> Iterator[Fault]:
    name, group = names.plugin, offers.GROUPS[KINDS[kind]]
    if not NAME.fullmatch(name) or len(name) > LONGEST or keyword.iskeyword(name):
        rule = f"a plugin's name is a word of lowercase letters, digits and underscores, at most {LONGEST}"
        yield Fault("NAME", name, rule, "my_queue is one")
        return
    if package := _owner(kind, names):
        yield Fault("NAME", name, f"{package} has a {kind.replace('_', ' ')}, package or module of this name", "choose another")
    elif name in _options(group):
        yield Fault("NAME", name, f"{group}={name} is an option already", "choose another")


def _owner(kind: str, names: Names) -> str | None:
    """The distribution that a new one of these names would meet."""
    offering = [plugin.distribution for plugin in offers.installed(KINDS[kind]) if plugin.name == names.plugin]
    known = [package for package in offers.OFFERED_BY.values() if package == names.distribution]
    named = [one.name for one in distributions() if one.name and one.name.lower().replace("_", "-") == names.distribution]
    module = [names.module] if find_spec(names.module) else []
    return next(iter([*offering, *known, *named, *module]), None)


def _options(group: str) -> list[str]:
    from cpt.recipe.library import Library  # noqa: PLC0415  (pydantic, for one look)

    return Library.open().groups()[group]


def _folder_faults(folder: Path) -> Iterator[Fault]:
    if folder.exists() or folder.is_symlink():
        yield Fault("--to", str(folder), "exists already, and nothing is written over", "name another folder with --to")


def _next_steps(kind: str, names: Names, folder: Path) -> list[str]:
    use = {
        "data_source": f"data={names.plugin} data.train=...",
        "launcher": f"launcher={names.plugin} --dry-run",
        "logger": f"logger={names.plugin}",
    }
    return [
        f"{folder}: {names.distribution}, a {kind.replace('_', ' ')} that works as it is; make it yours in src/{names.module}/__init__.py",
        f"  cd {folder}",
        "  python -m pip install -e '.[test]'",
        "  python -m pytest",
        f"  cpt train {use[kind]}",
    ]
