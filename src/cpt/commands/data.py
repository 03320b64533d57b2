"""Verbs about data: validate, prepare."""

from __future__ import annotations

import argparse

from cpt.commands.output import show
from cpt.commands.recipes import composed
from cpt.console import say
from cpt.errors import EXIT_DONE, UserError

SHOWN_FAULTS = 20
"""Faults of a data file that are shown; their total follows."""


def validate(arguments: argparse.Namespace) -> int:
    from cpt import api
    from cpt.data import jsonl

    if arguments.fix:
        fixed = jsonl.fix(arguments.files, arguments.fix)
        show(arguments, fixed.to_json(), fixed.lines())
        return EXIT_DONE
    report = api.validate(arguments.files)
    lines = [f"error: {fault}" for fault in report.faults[:SHOWN_FAULTS]]
    if report.fault_count > SHOWN_FAULTS:
        lines.append(f"error: {report.fault_count} faults in all; the first {SHOWN_FAULTS} are shown")
    for line in lines:
        say(line)
    show(arguments, report.to_json(), [f"{report.documents} documents in {len(report.files)} files, {report.fault_count} faults"])
    return EXIT_DONE if report.valid else UserError.exit_code


def prepare(arguments: argparse.Namespace) -> None:
    from cpt import api

    facts = api.prepare(composed(arguments).recipe)
    show(arguments, facts, [f"{key:<12}{value}" for key, value in facts.items()])
