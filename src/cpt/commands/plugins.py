"""`cpt plugins`: what is installed, and a new package to begin from."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from cpt.commands import output
from cpt.errors import EXIT_DONE, EXIT_USER, PluginError

if TYPE_CHECKING:
    from cpt.offers import Kind

WELL = "ok"


def show(arguments: argparse.Namespace) -> int:
    from cpt import offers

    rows = [row for kind in offers.KINDS for row in _rows(kind, arguments.check)]
    absent = [{"kind": kind, "name": name, "distribution": package} for (kind, name), package in offers.missing().items()]
    packages = ", ".join(f"{one['distribution']} ({offers.GROUPS[one['kind']]}={one['name']})" for one in absent)
    lines = [*_table(rows), f"not installed: {packages}"] if absent else _table(rows)
    output.show(arguments, {"plugins": rows, "not_installed": absent}, lines)
    is_well = all(row["health"] == WELL for row in rows)
    return EXIT_DONE if is_well or not arguments.check else EXIT_USER


def new(arguments: argparse.Namespace) -> None:
    from cpt import scaffold

    print("\n".join(scaffold.write(arguments.kind, arguments.name, arguments.to)))


def _rows(kind: Kind, check: bool) -> Iterator[dict[str, object]]:
    """What is said of each plugin of a kind."""
    from cpt import offers

    for plugin, fault in offers.health(kind):
        row = {"kind": kind, **plugin._asdict(), "health": fault or WELL}
        yield row | _checked(kind, plugin.name) if check and not fault and kind != "recipes" else row


def _checked(kind: Kind, name: str) -> dict[str, object]:
    """What only an import tells: whether the plugin is what it claims to be, and its options."""
    from cpt import plugins

    try:
        return {"options": list(plugins.load_class(kind, name, kind).Options.model_fields)}
    except PluginError as error:
        return {"health": error.faults[0].rule}


def _table(rows: Sequence[dict[str, object]]) -> list[str]:
    keys = ("kind", "name", "distribution", "version", "value", "health")
    cells = [("KIND", "NAME", "PACKAGE", "VERSION", "FROM", "HEALTH"), *(tuple(str(row[key]) for key in keys) for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in cells]
    options = ["", *(_options(row) for row in rows)]
    return [text for line in zip(lines, options, strict=True) for text in line if text]


def _options(row: dict[str, object]) -> str:
    named = row.get("options")
    return f"  options: {', '.join(named)}" if isinstance(named, list) and named else ""
