"""The seams: what a data source, a launcher and a logger must offer. Small, torch-free, stable.

A plugin is a class with a name in one of the entry-point groups of `cpt.plugins`. Its `Options` are a frozen model of its own:
a recipe's settings are validated against it on the submitting machine, before anything is done with them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import BaseModel

from cpt.recipe.frozen import Frozen


class NoOptions(Frozen):
    """The options of a plugin that has none."""


class DataSource(ABC):
    """Documents by location. What a location means (a file, a table, a name) is the source's own affair.

    Args:
        options: The recipe's `data.options`, validated by `Options`.
    """

    Options: type[BaseModel] = NoOptions

    def __init__(self, options: BaseModel) -> None:
        self.options = options

    @abstractmethod
    def fingerprint(self, locations: Sequence[str]) -> str:
        """SHA-256 (hex) of the content behind `locations`, whatever its path: equal content, equal fingerprint.

        Raises:
            DataError: Something is missing or invalid; every fault found.
        """

    @abstractmethod
    def documents(self, locations: Sequence[str]) -> Iterator[str]:
        """The texts, in an order that only the content decides."""

    def size_bytes(self, locations: Sequence[str]) -> int | None:  # noqa: ARG002  sources that can tell override it
        """About how many bytes of text there are, found without reading them; None where that cannot be known. For plans."""
        return None


@dataclass(frozen=True)
class Task:
    """Processes of one argv to start.

    Args:
        argv: What each process runs, the interpreter first.
        processes: Processes on each node.
        nodes: Nodes.
        folder: Local folder for what the launcher keeps (process ids, exit codes, logs).
        env: Environment variables to add.
    """

    argv: tuple[str, ...]
    processes: int
    nodes: int
    folder: Path
    env: Mapping[str, str] = field(default_factory=dict)


class Launcher(ABC):
    """Starts tasks somewhere.

    Args:
        options: The recipe's `launcher.options`, validated by `Options`.
    """

    Options: type[BaseModel] = NoOptions

    def __init__(self, options: BaseModel) -> None:
        self.options = options

    @abstractmethod
    def run(self, task: Task) -> int:
        """Starts `task`, waits for it, passes signals on, and returns its exit code (`cpt.errors`)."""


class Logger(ABC):
    """Receives the metrics of a run. Never on the hot path, and never able to stop it.

    Args:
        options: The recipe's `logger.<name>`, validated by `Options`.
        folder: The run's local folder.
        run_name: The run's name.
    """

    Options: type[BaseModel] = NoOptions

    def __init__(self, options: BaseModel, folder: Path, run_name: str) -> None:
        self.options, self.folder, self.run_name = options, folder, run_name

    @abstractmethod
    def start(self, recipe: Mapping[str, object], step: int) -> None:
        """Called once a process, before the first row; rows after `step` that an earlier process wrote are void."""

    @abstractmethod
    def metrics(self, step: int, values: Mapping[str, float]) -> None:
        """One row: `train/loss`, `validation/<set>/loss`, ... at optimizer step `step`."""

    @abstractmethod
    def text(self, step: int, name: str, text: str) -> None:
        """A text sample at optimizer step `step`."""

    @abstractmethod
    def close(self) -> None:
        """Flushes everything to disk."""
