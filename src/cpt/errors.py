"""Everything that can go wrong, as one tree, and the exit code each branch ends with.

CptError                  1    our own fault, unless a branch below says otherwise
├── UserError             2    the user's to mend; carries every fault found, never a traceback
│   ├── RecipeError            a key, value, group or recipe file
│   ├── DataError              training or validation text, tokenizer
│   ├── StorageError           a path, URL, credential or lease
│   ├── PluginError            a plugin asked for and missing, duplicated or broken
│   ├── CheckpointError        weights or a checkpoint that cannot be read
│   └── ResourceError          nodes, GPUs or memory that are not here
├── Stuck                 93   no progress over several attempts: not to be requeued
├── Preempted             75   stopped by SIGTERM, SIGUSR1 or the time limit; committed
└── Interrupted           130  stopped by Ctrl-C; committed
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

EXIT_DONE, EXIT_OURS, EXIT_USER, EXIT_PREEMPTED, EXIT_STUCK, EXIT_INTERRUPTED = 0, 1, 2, 75, 93, 130


@dataclass(frozen=True)
class Fault:
    """One thing for the user to mend.

    Args:
        where: The key, file and line, or resource at fault.
        value: What stands there, shortened to one line.
        rule: What must hold, without a closing full stop.
        cure: What to type or change instead, without a closing full stop; may be empty.
    """

    where: str
    value: str
    rule: str
    cure: str = ""

    def __str__(self) -> str:
        parts = [one_line(self.where, 400), one_line(self.value), self.rule.rstrip(".") + "."]
        text = ": ".join(part for part in parts if part)
        if not self.cure:
            return text
        first = self.cure.split()[0]
        as_typed = not first.isalpha() or first in ("cpt", "pip")  # a key or a command
        cure = self.cure if as_typed else self.cure[0].upper() + self.cure[1:]
        return f"{text} {cure}" if cure.endswith("?") else f"{text} {cure.rstrip('.')}."


def one_line(value: object, limit: int = 120) -> str:
    """`value` as printable text on one line, cut to `limit` characters: safe for a terminal and a log."""
    text = "".join(c if c.isprintable() else repr(c)[1:-1] for c in str(value))
    return text if len(text) <= limit else text[: limit - 1] + "…"


class CptError(Exception):
    """Base of all errors raised on purpose."""

    exit_code = EXIT_OURS


class UserError(CptError):
    """Faults that the user can mend: all of them at once.

    Raise it with `Fault`s, or with the four strings of a single one.
    """

    exit_code = EXIT_USER

    def __init__(self, *faults: Fault | str) -> None:
        if faults and all(isinstance(fault, str) for fault in faults):
            faults = (Fault(*faults),)  # type: ignore[arg-type]
        self.faults: tuple[Fault, ...] = tuple(f for f in faults if isinstance(f, Fault))
        super().__init__("\n".join(map(str, self.faults)))

    @classmethod
    def of(cls, faults: Iterable[Fault]) -> UserError:
        """The error that carries all of `faults`."""
        return cls(*faults)


class RecipeError(UserError):
    """A key, value, group or recipe file."""


class DataError(UserError):
    """Training or validation text, or a tokenizer."""


class StorageError(UserError):
    """A path, URL, credential or lease."""


class PluginError(UserError):
    """A plugin that was asked for and is missing, duplicated or broken."""


class CheckpointError(UserError):
    """Weights or a checkpoint that cannot be read or trusted."""


class ResourceError(UserError):
    """Nodes, GPUs or memory that are not here."""


class Stuck(CptError):  # noqa: N818  a state of the run, named as users meet it
    """No progress over several attempts of a job."""

    exit_code = EXIT_STUCK


class Preempted(CptError):  # noqa: N818  it is no error: the run is committed
    """Stopped by SIGTERM, SIGUSR1 or the time limit after a commit; may be requeued."""

    exit_code = EXIT_PREEMPTED


class Interrupted(CptError):  # noqa: N818  likewise
    """Stopped by Ctrl-C after a commit."""

    exit_code = EXIT_INTERRUPTED
