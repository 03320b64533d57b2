"""The verb that examines this machine."""

from __future__ import annotations

import argparse

from cpt.commands.output import show
from cpt.commands.recipes import composed
from cpt.console import StatusLine


def doctor(arguments: argparse.Namespace) -> int:
    """Examines this machine for a recipe."""
    from cpt.doctor import examine

    recipe = composed(arguments).recipe
    line = StatusLine()
    report = examine(recipe, progress=lambda subject: line.update(f"looking at {subject}"))
    line.clear()
    show(arguments, report.to_json(), report.lines())
    return report.exit_code
