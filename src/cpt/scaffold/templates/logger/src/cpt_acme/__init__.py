"""Metrics in acme. As generated that is a table in the run's folder: put your tracker's calls in its place."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TextIO

from pydantic import Field

from cpt.contracts import Logger
from cpt.recipe.frozen import Frozen

__all__ = ["AcmeLogger", "AcmeOptions"]

FILE = "acme.tsv"


class AcmeOptions(Frozen):
    """The recipe's `logger.acme`."""

    digits: int = Field(default=9, ge=1, le=17)
    """Significant digits of each value."""


class AcmeLogger(Logger):
    """A line a value: step, name, value."""

    Options = AcmeOptions
    options: AcmeOptions
    _file: TextIO

    def start(self, recipe: Mapping[str, object], step: int) -> None:
        """Keeps the lines up to `step`: what an earlier process wrote after it is void, and so is a line that a kill has torn."""
        path, new = self.folder / FILE, self.folder / f"{FILE}.new"
        earlier = path.read_text(encoding="utf-8").splitlines(keepends=True) if step and path.exists() else []
        kept = [line for line in earlier if line.endswith("\n") and int(line.partition("\t")[0]) <= step]
        new.write_text("".join(kept), encoding="utf-8")
        new.replace(path)  # at once: a kill must not lose what is kept
        self._file = path.open("a", encoding="utf-8")

    def metrics(self, step: int, values: Mapping[str, float]) -> None:
        """A line a value."""
        self._file.writelines(f"{step}\t{name}\t{value:.{self.options.digits}g}\n" for name, value in values.items())

    def text(self, step: int, name: str, text: str) -> None:
        """A table of numbers takes no texts."""

    def flush(self) -> None:
        """Writes what is left."""
        self._file.flush()

    def close(self) -> None:
        """Writes what is left, and closes the file."""
        self._file.close()
