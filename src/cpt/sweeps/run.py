"""A sweep from its recipes to its end: found on disk, its one driver, its reports."""

from __future__ import annotations

from collections.abc import Sequence

from cpt import storage
from cpt.composition import Composed, SweptRecipe
from cpt.console import say
from cpt.resources import Chosen
from cpt.rundir import RunDirectory
from cpt.submission import find_launcher
from cpt.sweeps import table
from cpt.sweeps.display import Display
from cpt.sweeps.driver import Driver
from cpt.sweeps.members import MemberState
from cpt.sweeps.runner import LauncherRunner, make_runner
from cpt.sweeps.sweep import Sweep

SHOWN_WARNINGS = 10
LOOKED_AT = 8
"""Members at once, elsewhere, of a sweeper that looks at results, where the recipe does not say: what runs teaches it nothing yet."""


def run(swept: SweptRecipe) -> Sweep:
    """Runs the members that are not done, writes the reports, and returns the sweep as it then stands.

    Raises:
        UserError: Faults that are found before anything is started; another process drives the sweep.
        Interrupted, Preempted: Told to stop; the same again goes on.
    """
    sweep, chosen = _opened(swept)
    with storage.lease(sweep.location):
        sweep.read()
        runner = _runner(sweep, chosen)
        _warn_of_another(sweep)
        sweep.keep()
        display = Display(sweep)
        try:
            Driver(sweep, runner, display).run()
        finally:
            display.close()
    return sweep


def rehearse(swept: SweptRecipe) -> list[str]:
    """Writes what would be submitted, starts nothing, and returns the folders that hold it.

    Of a sweep for another engine that is all members: its dry run needs no access to where the runs stand.
    """
    sweep, chosen = _opened(swept)
    if not chosen.launcher.takes_recipe:
        sweep.read()
    sweep.list_all()
    return _runner(sweep, chosen).rehearse([member for member in sweep.members if member.state is MemberState.WAITING])


def _opened(swept: SweptRecipe) -> tuple[Sweep, Chosen]:
    sweep = Sweep.open(swept)
    recipes = _recipes(sweep)
    _warn(recipes)
    return sweep, find_launcher(recipes[0].recipe)


def _runner(sweep: Sweep, chosen: Chosen) -> LauncherRunner:
    recipes = [composed.recipe for composed in _recipes(sweep)]
    return make_runner(chosen, RunDirectory(sweep.output, sweep.name), recipes, at_once(sweep, chosen))


def _recipes(sweep: Sweep) -> list[Composed]:
    """Of the members that are known; of one that could be where there is none."""
    return [member.composed for member in sweep.members if member.composed] or [sweep.swept.compose(sweep.swept.first)]


def _warn_of_another(sweep: Sweep) -> None:
    """Says so where the folder's table is that of a sweep over other axes."""
    earlier = table.swept_in(sweep)
    if earlier and earlier != list(sweep.swept.axes):
        what = f"{sweep.location} holds the table of a sweep over {', '.join(earlier)}"
        say(f"warning: {what}: this one replaces it, the members stay. Another run.name keeps both")


def at_once(sweep: Sweep, chosen: Chosen) -> int | None:
    """Members that run at once; None: what the runner allows."""
    asked = sweep.swept.settings.parallel
    if asked or chosen.is_local or not sweep.sweeper.looks_at_results:
        return asked
    say(f"{LOOKED_AT} members at once: later ones are chosen by what earlier ones showed. Another number: sweeper.parallel=N")
    return LOOKED_AT


def _warn(recipes: Sequence[Composed]) -> None:
    """Says what is not advised, each thing once."""
    warnings = list(dict.fromkeys(warning for composed in recipes for warning in composed.warnings))
    for warning in warnings[:SHOWN_WARNINGS]:
        say(f"warning: {warning}")
    if len(warnings) > SHOWN_WARNINGS:
        say(f"warning: and {len(warnings) - SHOWN_WARNINGS} more like these")
