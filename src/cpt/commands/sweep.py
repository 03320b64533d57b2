"""`cpt train -m`: a sweep."""

from __future__ import annotations

import argparse
from typing import Any

from cpt.commands.output import warn
from cpt.console import say
from cpt.errors import EXIT_DONE, CptError, Interrupted, Preempted, RecipeError


def sweep(members: list[tuple[str, Any]], arguments: argparse.Namespace) -> int:
    """Runs the members one after another; a member that fails does not stop the rest."""
    from cpt import api

    if arguments.cfg:
        raise RecipeError("--cfg", "-m", "prints one recipe, and -m makes several", "Leave one of the two out")
    failed: list[tuple[str, CptError]] = []
    for number, (label, composed) in enumerate(members, 1):
        name = label or "as composed"
        say(f"[{number}/{len(members)}] {name}")
        warn(composed.warnings)
        try:
            run = api.train(composed.recipe, recipe_yaml=composed.yaml, member=label or None, dry_run=arguments.dry_run)
        except (Interrupted, Preempted):
            raise
        except CptError as error:
            failed.append((name, error))
            for line in str(error).splitlines():
                say(f"error: {name}: {line}")
            continue
        for line in run.lines():
            print(line)
    if failed:
        say(f"{len(failed)} of {len(members)} members failed: {'; '.join(name for name, _ in failed)}. The same command runs them again")
        return failed[0][1].exit_code
    return EXIT_DONE
