"""What each verb does with its parsed arguments: calls `cpt.api`, prints. A verb imports what it needs, so that help comes at once."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from typing import Any

from cpt.console import say
from cpt.errors import EXIT_DONE, CptError, Interrupted, Preempted, RecipeError, UserError

SHOWN_FAULTS = 20
"""Faults of a data file that are shown; their total follows."""


def train(arguments: argparse.Namespace) -> int:
    from cpt import composition

    overrides, source = arguments.overrides, {"recipe_file": arguments.recipe, "config_dir": arguments.config_dir}
    if arguments.multirun:
        return _sweep(composition.compose_grid(overrides, **source), arguments)
    composed = composition.compose(overrides, **source)
    if arguments.cfg:
        print(composition.job_yaml(composed, resolve=arguments.resolve), end="")
        return EXIT_DONE
    from cpt import api  # after `--cfg`, which needs no data path

    _warn(composed.warnings)
    run = api.train(composed.recipe, recipe_yaml=composed.yaml, dry_run=arguments.dry_run)
    for line in run.lines():
        print(line)
    return EXIT_DONE


def _sweep(members: list[tuple[str, Any]], arguments: argparse.Namespace) -> int:
    """Runs the members one after another; a member that fails does not stop the rest."""
    from cpt import api

    if arguments.cfg:
        raise RecipeError("--cfg", "-m", "prints one recipe, and -m makes several", "Leave one of the two out")
    failed: list[tuple[str, CptError]] = []
    for number, (label, composed) in enumerate(members, 1):
        name = label or "as composed"
        say(f"[{number}/{len(members)}] {name}")
        _warn(composed.warnings)
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


def validate(arguments: argparse.Namespace) -> int:
    from cpt import api
    from cpt.data import jsonl

    if arguments.fix:
        fixed = jsonl.fix(arguments.files, arguments.fix)
        _result(arguments, fixed.to_json(), fixed.lines())
        return EXIT_DONE
    report = api.validate(arguments.files)
    lines = [f"error: {fault}" for fault in report.faults[:SHOWN_FAULTS]]
    if report.fault_count > SHOWN_FAULTS:
        lines.append(f"error: {report.fault_count} faults in all; the first {SHOWN_FAULTS} are shown")
    for line in lines:
        say(line)
    _result(arguments, report.to_json(), [f"{report.documents} documents in {len(report.files)} files, {report.fault_count} faults"])
    return EXIT_DONE if report.valid else UserError.exit_code


def prepare(arguments: argparse.Namespace) -> None:
    from cpt import api

    facts = api.prepare(_composed(arguments).recipe)
    _result(arguments, facts, [f"{key:<12}{value}" for key, value in facts.items()])


def plan(arguments: argparse.Namespace) -> None:
    from cpt import api

    composed = _composed(arguments)
    plan = api.plan(composed.recipe)
    _result(arguments, plan.to_json(), plan.lines(composed.recipe))


def evaluate(arguments: argparse.Namespace) -> None:
    from cpt import api

    sets: dict[str, str] = {}
    for text in arguments.on:
        name, file = _named_file(text)
        if name in sets:
            raise UserError("--on", text, f"{name} is named twice", "Give each file a name of its own")
        sets[name] = file
    results = api.evaluate(arguments.model, sets, checkpoint=arguments.checkpoint, max_length=arguments.max_length)
    lines = [
        f"{name}: loss {r['loss']:.4f} · perplexity {r['perplexity']:.3f} · {r['bits_per_byte']:.4f} bits a byte · {r['tokens']} tokens"
        f" · {r['documents']} documents · windows of {r['max_length']}"
        for name, r in results.items()
    ]
    _result(arguments, results, lines)


def _named_file(text: str) -> tuple[str, str]:
    name, separator, file = text.partition("=")
    if not separator or not name or not file:
        raise UserError("--on", text, "must be NAME=FILE", "For example --on domain=held_out.jsonl")
    return name, file


def generate(arguments: argparse.Namespace) -> None:
    from cpt import api

    text = api.generate(
        arguments.model,
        arguments.prompt,
        checkpoint=arguments.checkpoint,
        max_tokens=arguments.max_tokens,
        greedy=arguments.greedy,
        seed=arguments.seed,
    )
    print(text)


def export(arguments: argparse.Namespace) -> None:
    from cpt import api

    print(api.export(arguments.model, arguments.to, checkpoint=arguments.checkpoint))


def recipe_import(arguments: argparse.Namespace) -> None:
    from cpt import composition

    composed = composition.compose(arguments.overrides, recipe_file=arguments.file)
    _warn(composed.warnings)
    _write(arguments.to, composition.job_yaml(composed, resolve=False))


def recipe_export(arguments: argparse.Namespace) -> None:
    from cpt.recipe import amazon

    _write(arguments.to, amazon.render(amazon.to_amazon(_composed(arguments).recipe)))


def _composed(arguments: argparse.Namespace) -> Any:
    from cpt import composition

    composed = composition.compose(arguments.overrides, recipe_file=arguments.recipe, config_dir=arguments.config_dir)
    _warn(composed.warnings)
    return composed


def _result(arguments: argparse.Namespace, document: object, lines: Sequence[str]) -> None:
    print(json.dumps(document, indent=2) if arguments.json else "\n".join(lines))


def _write(location: str | None, text: str) -> None:
    if location is None:
        print(text, end="")
        return
    from cpt import storage

    storage.check_location(location, "--to")
    storage.write_bytes(location, text.encode())


def _warn(warnings: Sequence[str]) -> None:
    for warning in warnings:
        say(f"warning: {warning}")
