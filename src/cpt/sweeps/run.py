"""A sweep from its recipes to its end: found on disk, its one driver, its reports."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from cpt import storage
from cpt.composition import Composed, SweptRecipe
from cpt.console import say
from cpt.rundir import RunDirectory
from cpt.submission import find_launcher
from cpt.sweeps.display import Display
from cpt.sweeps.driver import Driver
from cpt.sweeps.members import MemberState
from cpt.sweeps.runner import LauncherRunner, make_runner
from cpt.sweeps.sweep import Sweep

SHOWN_WARNINGS = 10


def run(swept: SweptRecipe) -> Sweep:
    """Runs the members that are not done, writes the reports, and returns the sweep as it then stands.

    Raises:
        UserError: Faults that are found before anything is started; another process drives the sweep.
        Interrupted, Preempted: Told to stop; the same again goes on.
    """
    with _driving(swept) as (sweep, runner):
        sweep.keep()
        display = Display(sweep)
        try:
            Driver(sweep, runner, display, swept.settings.parallel).run()
        finally:
            display.close()
    return sweep


def rehearse(swept: SweptRecipe) -> list[str]:
    """Writes what would be submitted, starts nothing, and returns the folders that hold it."""
    with _driving(swept) as (sweep, runner):
        sweep.list_all()
        return runner.rehearse([member for member in sweep.members if member.state is MemberState.WAITING])


@contextmanager
def _driving(swept: SweptRecipe) -> Iterator[tuple[Sweep, LauncherRunner]]:
    sweep = Sweep.open(swept)
    recipes = [member.composed for member in sweep.members if member.composed] or [swept.compose(swept.first)]
    _warn(recipes)
    folder = RunDirectory(sweep.output, sweep.name).local / "jobs"
    runner = make_runner(find_launcher(recipes[0].recipe), folder, [composed.recipe for composed in recipes], swept.settings.parallel)
    with storage.lease(sweep.location):
        sweep.read()
        yield sweep, runner


def _warn(recipes: Sequence[Composed]) -> None:
    """Says what is not advised, each thing once."""
    warnings = list(dict.fromkeys(warning for composed in recipes for warning in composed.warnings))
    for warning in warnings[:SHOWN_WARNINGS]:
        say(f"warning: {warning}")
    if len(warnings) > SHOWN_WARNINGS:
        say(f"warning: and {len(warnings) - SHOWN_WARNINGS} more like these")
