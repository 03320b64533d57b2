"""metrics.csv in the run's folder, for spreadsheets and data frames: one row a step, one column a metric."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping
from pathlib import Path

from typing_extensions import override

from cpt.contracts import Logger, NoOptions
from cpt.storage import write_bytes

FILE = "metrics.csv"


class CsvLogger(Logger):
    """Columns under the names of metrics.jsonl, `step` first; a metric that a step lacks is an empty cell."""

    Options = NoOptions

    def __init__(self, options: NoOptions, folder: Path, run_name: str) -> None:
        super().__init__(options, folder, run_name)
        self._path = folder / FILE
        self._columns: list[str] = []

    @override
    def start(self, recipe: Mapping[str, object], step: int) -> None:
        """Keeps the rows up to `step`; a line that a kill has torn goes."""
        rows = [row for row in self._rows() if step and int(row["step"]) <= step]
        self._columns = list(dict.fromkeys(["step", *(name for row in rows for name, cell in row.items() if cell)]))
        self._write(rows)

    def metrics(self, step: int, values: Mapping[str, float]) -> None:
        """Adds a line; a new metric adds a column to the whole file."""
        row = {"step": step, **values}
        if new := [name for name in row if name not in self._columns]:
            self._columns += new
            self._write(list(self._rows()))
        with self._path.open("a", encoding="utf-8", newline="") as file:
            file.write(_lines([[row.get(name, "") for name in self._columns]]))

    def text(self, step: int, name: str, text: str) -> None:
        """Texts stand in samples.jsonl."""

    def close(self) -> None:
        """Every row is on disk already."""

    def _rows(self) -> list[dict[str, str]]:
        """The rows that are whole, as text."""
        if not self._path.exists():
            return []
        text = self._path.read_text(encoding="utf-8")
        whole = text[: text.rfind("\n") + 1]
        return list(csv.DictReader(io.StringIO(whole, newline="")))

    def _write(self, rows: list[dict[str, str]]) -> None:
        """Replaces the file by one atomic act."""
        cells = [self._columns, *([row.get(name, "") for name in self._columns] for row in rows)]
        write_bytes(str(self._path), _lines(cells).encode())


def _lines(rows: Iterable[Iterable[object]]) -> str:
    file = io.StringIO(newline="")
    csv.writer(file, lineterminator="\n").writerows(rows)
    return file.getvalue()
