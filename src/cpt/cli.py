"""What a person types: flags and overrides to one of `cpt.commands`, and every error to a line and an exit code."""

from __future__ import annotations

import argparse
import difflib
import errno
import os
import shlex
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from typing_extensions import override

from cpt import __version__
from cpt.commands import data, doctor, jobs, models, plugins, recipes, runs
from cpt.console import say
from cpt.errors import EXIT_DONE, EXIT_INTERRUPTED, EXIT_OURS, CptError, Fault, Interrupted, Preempted, RecipeError, UserError

ENVIRONMENT = {errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS}
"""Errors of the system that the user can mend."""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit code (`cpt.errors`)."""
    words = list(sys.argv[1:] if argv is None else argv)
    stop_on_signals()  # a launcher passes them on to its processes while it has some
    try:
        arguments = _parse(words)
        return int(arguments.run(arguments) or EXIT_DONE)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # so that the interpreter's own flush at exit is quiet
        return EXIT_DONE
    except (Exception, KeyboardInterrupt) as error:
        return exit_code(error, again=shlex.join(["python", "-m", "cpt", *words]))


def stop_on_signals() -> None:
    """Has SIGTERM and SIGUSR1 raise `Preempted` in this process."""
    for number in (signal.SIGTERM, signal.SIGUSR1):
        signal.signal(number, _preempted)


def exit_code(error: BaseException, again: str | None) -> int:
    """Says what went wrong in lines, never as a traceback, and returns the exit code.

    Args:
        error: What was raised.
        again: The command that goes on after a stop; None where a scheduler knows it.
    """
    if isinstance(error, Interrupted | Preempted | KeyboardInterrupt):
        say(f"stopped: {str(error) or 'nothing more was committed'}{f'. Go on with: {again}' if again else ''}")
        return getattr(error, "exit_code", EXIT_INTERRUPTED)
    if isinstance(error, CptError) and str(error):
        for line in str(error).splitlines():
            say(f"error: {line}")
        return error.exit_code
    if isinstance(error, OSError) and error.errno in ENVIRONMENT:
        say(f"error: {error.filename or 'output'}: {error.strerror}")
        return UserError.exit_code
    return _our_fault(error)


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
    """`train --help` ends with the groups and their options, those of `--config-dir` too: so it waits until all flags are read."""

    @override
    def __call__(self, parser: argparse.ArgumentParser, namespace: Any, values: Any, option: str | None = None) -> None:
        def show(arguments: argparse.Namespace) -> None:
            from cpt.recipe.library import Library  # noqa: PLC0415  so that help without groups comes at once

            library = Library.open(Path(arguments.config_dir) if arguments.config_dir else None)
            groups = "\n".join(f"  {name:<12}{' '.join(options)}" for name, options in library.groups().items())
            print(f"{parser.format_help()}\ngroups (GROUP=OPTION):\n{groups}\n\nkeys: `cpt train --cfg job` prints the composed recipe")

        namespace.run = show


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="cpt", description="Continued pre-training of language models.", allow_abbrev=False)
    parser.add_argument("--version", action="version", version=f"cpt {__version__}")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB", parser_class=_Parser)

    train = _verb(verbs, "train", "compose, check, plan, train", runs.train, recipe=True)
    train.add_argument("-m", "--multirun", action="store_true", help="the grid of all comma lists, choice(), range(), glob()")
    train.add_argument("-c", "--cfg", choices=["job"], help="print the composed recipe and stop")
    train.add_argument("--resolve", action="store_true", help="with --cfg: interpolations resolved")
    train.add_argument("--dry-run", action="store_true", help="everything up to the first step")

    validate = _verb(verbs, "validate", "hold JSONL files against the data rules", data.validate)
    validate.add_argument("files", nargs="+", metavar="FILE|URL|GLOB")
    validate.add_argument("--fix", metavar="OUT", help="write a clean copy that keeps the text")
    _json(validate)
    _json(_verb(verbs, "prepare", "validate, tokenise, store and pack without training", data.prepare, recipe=True))
    _json(_verb(verbs, "plan", "steps, tokens, memory, time and price", runs.plan, recipe=True))

    evaluate = _model_verb(verbs, "eval", "loss, perplexity and bits a byte on files", models.evaluate)
    evaluate.add_argument("--on", action="append", required=True, metavar="NAME=FILE")
    evaluate.add_argument("--max-length", type=_number(2), metavar="N", help="tokens in a window")
    _json(evaluate)
    generate = _model_verb(verbs, "generate", "continue a text", models.generate)
    generate.add_argument("--prompt", required=True, metavar="TEXT")
    generate.add_argument("--max-tokens", type=_number(1), default=128, metavar="N")
    generate.add_argument("--greedy", action="store_true", help="the likeliest token each time")
    generate.add_argument("--seed", type=_number(0), default=0, metavar="N")
    export = _model_verb(verbs, "export", "write a Hugging Face folder", models.export)
    export.add_argument("--to", required=True, metavar="DIR|URL")

    recipe = verbs.add_parser("recipe", help="translate to and from Amazon's recipes")
    directions = recipe.add_subparsers(dest="direction", required=True, metavar="import|export", parser_class=_Parser)
    importing = _verb(directions, "import", "Amazon's YAML to ours", recipes.import_recipe)
    importing.add_argument("file", metavar="AMAZON.yaml")
    importing.add_argument("overrides", nargs="*", metavar="OVERRIDE")
    exporting = _verb(directions, "export", "ours to Amazon's YAML", recipes.export_recipe, recipe=True)
    for direction in (importing, exporting):
        direction.add_argument("--to", metavar="FILE", help="default: stdout")

    _plugin_verbs(verbs)
    _job_verbs(verbs)
    _json(_verb(verbs, "doctor", "the machine, the packages, what would work", doctor.doctor, recipe=True))
    return parser


def _plugin_verbs(verbs: Any) -> None:
    listing = _verb(verbs, "plugins", "what is installed; a new package", plugins.show)
    _json(listing)
    listing.add_argument("--check", action="store_true", help="import each, and say whether it is what it claims to be")
    actions = listing.add_subparsers(dest="action", metavar="new", parser_class=_Parser)
    new = _verb(actions, "new", "write a plugin package to begin from", plugins.new)
    new.add_argument("kind", choices=["data_source", "launcher", "logger"], metavar="KIND", help="data_source, launcher or logger")
    new.add_argument("name", metavar="NAME", help="what recipes will call it")
    new.add_argument("--to", metavar="DIR", help="default: ./cpt-NAME")


def _job_verbs(verbs: Any) -> None:
    actions = verbs.add_parser("jobs", help="jobs of any launcher").add_subparsers(
        dest="action", required=True, metavar="list|status|logs|cancel|wait", parser_class=_Parser
    )
    _json(_verb(actions, "list", "the jobs of your runs, newest first", jobs.list_jobs))
    _json(_job_verb(actions, "status", "where a job stands", jobs.status))
    logs = _job_verb(actions, "logs", "what a job has written", jobs.logs)
    logs.add_argument("-f", "--follow", action="store_true", help="go on until it has ended")
    logs.add_argument("--process", metavar="NAME", help="one process alone, as `rank 0`")
    _job_verb(actions, "cancel", "ask a job to commit and end", jobs.cancel)
    wait = _job_verb(actions, "wait", "follow a job to its end, and end as it did", jobs.wait)
    wait.add_argument("--timeout", type=float, metavar="SECONDS", help="give up after that long; the job goes on")


def _job_verb(verbs: Any, name: str, does: str, run: Callable[[argparse.Namespace], int | None]) -> argparse.ArgumentParser:
    parser = _verb(verbs, name, does, run)
    parser.add_argument("job", metavar="RUN|SWEEP|ID")
    return parser


def _verb(
    verbs: Any, name: str, does: str, run: Callable[[argparse.Namespace], int | None], recipe: bool = False
) -> argparse.ArgumentParser:
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


def _number(least: int) -> Callable[[str], int]:
    """What reads a whole number from `least` to 2^31 - 1."""

    def read(text: str) -> int:
        if text.isdecimal() and least <= int(text[:11]) < 2**31:
            return int(text)
        raise argparse.ArgumentTypeError(f"{text}: must be a whole number, at least {least} and less than 2^31")

    return read


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


def _preempted(number: int, _: FrameType | None) -> NoReturn:
    raise Preempted(f"by {signal.Signals(number).name}, before the first step")


def _our_fault(error: BaseException) -> int:
    with tempfile.NamedTemporaryFile("w", prefix="cpt-crash-", suffix=".txt", delete=False) as file:
        traceback.print_exception(error, file=file)
    cure = f"The traceback is in {file.name}; please report it"
    say(f"error: {Fault(type(error).__name__, str(error), 'is a fault of cpt, not yours', cure)}")
    return EXIT_OURS
