"""`cpt train -m`: a sweep."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from cpt.console import say
from cpt.errors import EXIT_DONE, RecipeError

if TYPE_CHECKING:
    from cpt.composition import SweptRecipe


def sweep(swept: SweptRecipe, arguments: argparse.Namespace) -> int:
    """Runs the members of a sweep, or goes on with it; one that fails does not stop the rest."""
    from cpt.sweeps import run, table
    from cpt.sweeps.members import MemberState

    if arguments.cfg:
        raise RecipeError("--cfg", "-m", "prints one recipe, and -m makes several", "Leave one of the two out")
    if arguments.dry_run:
        for folder in run.rehearse(swept):
            print(f"dry run: what would be submitted is in {folder}; nothing was started")
        return EXIT_DONE
    done = run.run(swept)
    for line in table.summary(done):
        print(line)
    print(f"      every member: {done.location}/sweep.csv · curves: {done.location}/sweep.html")
    failed = [member for member in done.members if member.state is MemberState.FAILED]
    for member in failed:
        for line in member.error:
            say(f"error: {member.label}: {line}")
    if failed:
        say(f"{len(failed)} of {len(done.members)} members failed; the same command runs them again")
    return failed[0].exit_code if failed else EXIT_DONE
