"""Verbs about a run: plan, train."""

from __future__ import annotations

import argparse

from cpt.commands.output import show, warn
from cpt.commands.recipes import composed
from cpt.errors import EXIT_DONE


def train(arguments: argparse.Namespace) -> int:
    from cpt import composition

    overrides, source = arguments.overrides, {"recipe_file": arguments.recipe, "config_dir": arguments.config_dir}
    if arguments.multirun:
        from cpt.commands.sweep import sweep

        return sweep(composition.open_sweep(overrides, **source), arguments)
    found = composition.compose(overrides, **source)
    if arguments.cfg:
        print(composition.job_yaml(found, resolve=arguments.resolve), end="")
        return EXIT_DONE
    from cpt import api  # after `--cfg`, which needs no data path

    warn(found.warnings)
    run = api.train(found.recipe, recipe_yaml=found.yaml, dry_run=arguments.dry_run)
    for line in run.lines():
        print(line)
    return EXIT_DONE


def plan(arguments: argparse.Namespace) -> None:
    from cpt import api

    recipe = composed(arguments).recipe
    plan = api.plan(recipe)
    show(arguments, plan.to_json(), plan.lines(recipe))
