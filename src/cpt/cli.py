"""The verbs. Parses what was typed, calls `cpt.api`, prints; never sees torch."""

from __future__ import annotations

import argparse
import difflib
import json
import os
import shlex
import sys
import tempfile
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from cpt import __version__
from cpt.errors import EXIT_DONE, EXIT_INTERRUPTED, EXIT_OURS, CptError, Fault, Interrupted, Preempted, RecipeError, UserError

SHOWN_FAULTS = 20
"""Faults of a data file that are shown; their total follows."""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit code (`cpt.errors`)."""
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        arguments = _parse(words)
        return int(arguments.run(arguments) or EXIT_DONE)
    except UserError as error:
        for fault in error.faults:
            _say(f"error: {fault}")
        return error.exit_code
    except (Interrupted, Preempted, KeyboardInterrupt) as stop:
        _say(f"stopped: {stop or 'nothing more was committed'}. Go on with: {_command(words)}")
        return getattr(stop, "exit_code", EXIT_INTERRUPTED)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # so that the interpreter's own flush at exit is quiet
        return EXIT_DONE
    except Exception as error:  # noqa: BLE001  the last line of defence: never a traceback on the terminal
        if isinstance(error, CptError) and str(error):
            _say(f"error: {error}")
            return error.exit_code
        return _our_fault(error)


def _train(arguments: argparse.Namespace) -> int:
    from cpt import compose

    overrides, source = arguments.overrides, {"recipe_file": arguments.recipe, "config_dir": arguments.config_dir}
    if arguments.multirun:
        return _sweep(compose.compose_grid(overrides, **source), arguments)
    composed = compose.compose(overrides, **source)
    if arguments.cfg:
        print(compose.job_yaml(composed, resolve=arguments.resolve), end="")
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
    failed = []
    for number, (label, composed) in enumerate(members, 1):
        _say(f"[{number}/{len(members)}] {label}")
        _warn(composed.warnings)
        try:
            run = api.train(composed.recipe, recipe_yaml=composed.yaml, member=label, dry_run=arguments.dry_run)
        except UserError as error:
            failed.append((label, error))
            for fault in error.faults:
                _say(f"error: {label}: {fault}")
            continue
        for line in run.lines():
            print(line)
    if failed:
        _say(f"{len(failed)} of {len(members)} members failed: {'; '.join(label for label, _ in failed)}. The same command runs them again")
        return failed[0][1].exit_code
    return EXIT_DONE


def _validate(arguments: argparse.Namespace) -> int:
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
        _say(line)
    _result(arguments, report.to_json(), [f"{report.documents} documents in {len(report.files)} files, {report.fault_count} faults"])
    return EXIT_DONE if report.valid else UserError.exit_code


def _prepare(arguments: argparse.Namespace) -> None:
    from cpt import api

    facts = api.prepare(_composed(arguments).recipe)
    _result(arguments, facts, [f"{key:<12}{value}" for key, value in facts.items()])


def _plan(arguments: argparse.Namespace) -> None:
    from cpt import api

    composed = _composed(arguments)
    plan = api.plan(composed.recipe)
    _result(arguments, plan.to_json(), plan.lines(composed.recipe))


def _eval(arguments: argparse.Namespace) -> None:
    from cpt import api

    sets = dict(_named_file(text) for text in arguments.on)
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


def _generate(arguments: argparse.Namespace) -> None:
    from cpt import api

    text = api.generate(
        arguments.model, arguments.prompt, checkpoint=arguments.checkpoint, max_tokens=arguments.max_tokens, greedy=arguments.greedy,
        seed=arguments.seed,
    )
    print(text)


def _export(arguments: argparse.Namespace) -> None:
    from cpt import api

    print(api.export(arguments.model, arguments.to, checkpoint=arguments.checkpoint))


def _recipe_import(arguments: argparse.Namespace) -> None:
    from cpt import compose

    composed = compose.compose(arguments.overrides, recipe_file=arguments.file)
    _warn(composed.warnings)
    _write(arguments.to, compose.job_yaml(composed, resolve=False))


def _recipe_export(arguments: argparse.Namespace) -> None:
    from cpt.recipe import amazon

    _write(arguments.to, amazon.render(amazon.to_amazon(_composed(arguments).recipe)))


def _composed(arguments: argparse.Namespace) -> Any:
    from cpt import compose

    composed = compose.compose(arguments.overrides, recipe_file=arguments.recipe, config_dir=arguments.config_dir)
    _warn(composed.warnings)
    return composed


class _Parser(argparse.ArgumentParser):
    """argparse with this project's way of saying what is wrong."""

    def error(self, message: str) -> NoReturn:
        """One line, the cure in it."""
        raise UserError(self.prog, "", message, f"{self.prog} --help shows what there is")

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is not None and value not in action.choices:
            near = difflib.get_close_matches(str(value), list(action.choices), n=1)
            cure = f"Did you mean {near[0]}?" if near else f"{self.prog} --help shows what there is"
            raise UserError(self.prog, str(value), f"must be one of {', '.join(action.choices)}", cure)


class _TrainHelp(argparse.Action):
    """`train --help` ends with the groups and their options, which only composition knows."""

    def __call__(self, parser: argparse.ArgumentParser, namespace: Any, values: Any, option: str | None = None) -> None:
        from cpt import compose

        groups = "\n".join(f"  {name:<12}{' '.join(options)}" for name, options in compose.groups().items())
        print(f"{parser.format_help()}\ngroups (GROUP=OPTION):\n{groups}\n\nkeys: `cpt train --cfg job` prints the composed recipe")
        parser.exit()


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="cpt", description="Continued pre-training of language models.", allow_abbrev=False)
    parser.add_argument("--version", action="version", version=f"cpt {__version__}")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB", parser_class=_Parser)

    train = _verb(verbs, "train", "compose, check, plan, train", _train, recipe=True)
    train.add_argument("-m", "--multirun", action="store_true", help="the grid of all comma lists, choice(), range(), glob()")
    train.add_argument("--cfg", choices=["job"], help="print the composed recipe and stop")
    train.add_argument("--resolve", action="store_true", help="with --cfg: interpolations resolved")
    train.add_argument("--dry-run", action="store_true", help="everything up to the first step")

    validate = _verb(verbs, "validate", "hold JSONL files against the data rules", _validate)
    validate.add_argument("files", nargs="+", metavar="FILE|URL|GLOB")
    validate.add_argument("--fix", metavar="OUT", help="write a clean copy that keeps the text")
    _json(validate)
    _json(_verb(verbs, "prepare", "validate, tokenise, store and pack without training", _prepare, recipe=True))
    _json(_verb(verbs, "plan", "steps, tokens, memory, time and price", _plan, recipe=True))

    evaluate = _model_verb(verbs, "eval", "loss, perplexity and bits a byte on files", _eval)
    evaluate.add_argument("--on", action="append", required=True, metavar="NAME=FILE")
    evaluate.add_argument("--max-length", type=int, metavar="N", help="tokens in a window")
    _json(evaluate)
    generate = _model_verb(verbs, "generate", "continue a text", _generate)
    generate.add_argument("--prompt", required=True, metavar="TEXT")
    generate.add_argument("--max-tokens", type=int, default=128, metavar="N")
    generate.add_argument("--greedy", action="store_true", help="the likeliest token each time")
    generate.add_argument("--seed", type=int, default=0, metavar="N")
    export = _model_verb(verbs, "export", "write a Hugging Face folder", _export)
    export.add_argument("--to", required=True, metavar="DIR|URL")

    recipe = verbs.add_parser("recipe", help="translate to and from Amazon's recipes")
    directions = recipe.add_subparsers(dest="direction", required=True, metavar="import|export", parser_class=_Parser)
    importing = _verb(directions, "import", "Amazon's YAML to ours", _recipe_import)
    importing.add_argument("file", metavar="AMAZON.yaml")
    importing.add_argument("overrides", nargs="*", metavar="OVERRIDE")
    exporting = _verb(directions, "export", "ours to Amazon's YAML", _recipe_export, recipe=True)
    for direction in (importing, exporting):
        direction.add_argument("--to", metavar="FILE", help="default: stdout")
    return parser


def _verb(verbs: Any, name: str, does: str, run: Callable[[argparse.Namespace], int | None], recipe: bool = False) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = verbs.add_parser(name, help=does, description=does, allow_abbrev=False, add_help=not recipe)
    parser.set_defaults(run=run)
    if recipe:
        parser.add_argument("-h", "--help", action=_TrainHelp, nargs=0, help="this, and the groups")
        parser.add_argument("overrides", nargs="*", metavar="OVERRIDE", help="GROUP=OPTION, KEY=VALUE, +KEY=VALUE, ~KEY")
        parser.add_argument("--recipe", metavar="FILE", help="start from a recipe file: ours, or Amazon's YAML")
        parser.add_argument("--config-dir", "-cd", metavar="DIR", help="your own groups and options")
    return parser


def _model_verb(verbs: Any, name: str, does: str, run: Callable[[argparse.Namespace], int | None]) -> argparse.ArgumentParser:
    parser = _verb(verbs, name, does, run)
    parser.add_argument("model", metavar="RUN|HF_FOLDER")
    parser.add_argument("--checkpoint", metavar="STEP|best|last", help="default: final, else the last")
    return parser


def _json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="one JSON document on stdout and nothing else")


def _parse(words: list[str]) -> argparse.Namespace:
    """The arguments; overrides may stand anywhere among the flags, which argparse alone does not allow."""
    arguments, rest = _parser().parse_known_args(words)
    flags = [word for word in rest if word.startswith("-")]
    if "overrides" in arguments and not flags:
        arguments.overrides = [*arguments.overrides, *rest]
    else:
        _refuse(words[0], flags or rest)
    return arguments


NOT_HERE = {
    "-cn": "Use --recipe FILE, or experiment=NAME",
    "--config-name": "Use --recipe FILE, or experiment=NAME",
    "-cp": "Use --config-dir DIR",
    "--config-path": "Use --config-dir DIR",
    "--info": "Use --cfg job, or cpt doctor",
    "--hydra-help": "Use cpt train --help",
    "--package": "Use --cfg job and pick the key",
    "-p": "Use --cfg job and pick the key",
    "--shell-completion": "It is not offered",
    "--run": "It is the default",
    "-r": "It is the default",
}
"""Hydra's flags that this project cannot honour, and what to type instead."""


def _refuse(verb: str, words: list[str]) -> None:
    """Raises for words that no option of `verb` takes; nothing where there are none."""
    faults = [
        Fault(f"cpt {verb}", word, "is a flag of Hydra's own program, which does not run here", NOT_HERE[flag])
        if (flag := word.split("=", 1)[0]) in NOT_HERE
        else Fault(f"cpt {verb}", word, "is not an option of this command", f"cpt {verb} --help shows what there is")
        for word in words
    ]
    if faults:
        raise RecipeError.of(faults)


def _result(arguments: argparse.Namespace, document: object, lines: Sequence[str]) -> None:
    print(json.dumps(document, indent=2) if arguments.json else "\n".join(lines))


def _write(path: str | None, text: str) -> None:
    if path is None:
        print(text, end="")
    else:
        Path(path).write_text(text)


def _warn(warnings: Sequence[str]) -> None:
    for warning in warnings:
        _say(f"warning: {warning}")


def _say(text: str) -> None:
    print(text, file=sys.stderr)


def _command(words: Sequence[str]) -> str:
    return shlex.join(["python", "-m", "cpt", *words])


def _our_fault(error: Exception) -> int:
    with tempfile.NamedTemporaryFile("w", prefix="cpt-crash-", suffix=".txt", delete=False) as file:
        traceback.print_exception(error, file=file)
    _say(f"error: {Fault(type(error).__name__, str(error), 'is a fault of cpt, not yours', f'The traceback is in {file.name}; please report it')}")
    return EXIT_OURS
