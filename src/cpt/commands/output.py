"""What verbs print, and where."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence

from cpt.console import say


def show(arguments: argparse.Namespace, document: object, lines: Sequence[str]) -> None:
    """A verb's result on stdout: with `--json` the document and nothing else, else the lines."""
    print(json.dumps(document, indent=2) if arguments.json else "\n".join(lines))


def write(location: str | None, text: str) -> None:
    """`text` at a path or URL; on stdout where there is none."""
    if location is None:
        print(text, end="")
        return
    from cpt import storage

    storage.check_location(location, "--to")
    storage.write_bytes(location, text.encode())


def warn(warnings: Sequence[str]) -> None:
    """Warnings, a line each."""
    for warning in warnings:
        say(f"warning: {warning}")
