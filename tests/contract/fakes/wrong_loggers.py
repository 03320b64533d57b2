"""A logger that keeps its contract, and some that do not: each with one defect, and the test that must catch it."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping, Sequence
from pathlib import Path

from pydantic import BaseModel

from cpt.contracts import Logger
from cpt.testing import LoggerContract

Row = tuple[int, str, float]


class Good(Logger):
    """A JSON list a run, written at the end."""

    caught_by = ""

    def start(self, recipe: Mapping[str, object], step: int) -> None:
        self.rows = self.kept(read(self.file()), step)

    def metrics(self, step: int, values: Mapping[str, float]) -> None:
        self.rows += [(step, name, value) for name, value in values.items()]

    def text(self, step: int, name: str, text: str) -> None:
        pass

    def flush(self) -> None:
        self.file().write_text(json.dumps(self.rows))

    def close(self) -> None:
        Good.flush(self)

    def kept(self, rows: list[Row], step: int) -> list[Row]:
        return [row for row in rows if row[0] <= step]

    def file(self) -> Path:
        return self.folder / "rows.json"


def read(file: Path) -> list[Row]:
    return [tuple(row) for row in json.loads(file.read_text())] if file.exists() else []


class LastHundred(Good):
    caught_by = "test_what_is_logged_is_read_back"

    def metrics(self, step: int, values: Mapping[str, float]) -> None:
        Good.metrics(self, step, values)
        self.rows = self.rows[-100:]


class ShortNames(Good):
    caught_by = "test_every_name_of_a_row_is_kept"

    def metrics(self, step: int, values: Mapping[str, float]) -> None:
        Good.metrics(self, step, {"/".join(name.split("/")[:2]): value for name, value in values.items()})


class NoFigures(Good):
    caught_by = "test_texts_and_figures_are_taken"

    def figure(self, step: int, name: str, figure: Mapping[str, object]) -> None:
        raise NotImplementedError


class FiniteOnly(Good):
    caught_by = "test_a_loss_that_is_no_number_stops_nothing"

    def metrics(self, step: int, values: Mapping[str, float]) -> None:
        json.dumps(values, allow_nan=False)
        Good.metrics(self, step, values)


class Appender(Good):
    caught_by = "test_a_run_that_goes_on_has_each_step_once"

    def kept(self, rows: list[Row], step: int) -> list[Row]:
        return rows if step else []


class StartsAtItsLast(Good):
    caught_by = "test_a_run_that_begins_anew_has_no_earlier_row"

    def kept(self, rows: list[Row], step: int) -> list[Row]:
        return Good.kept(self, rows, step) if step else [row for row in rows if row[0] > 2]


class OneThread(Good):
    caught_by = "test_it_is_made_on_one_thread_and_called_on_another"

    def __init__(self, options: BaseModel, folder: Path, run_name: str) -> None:
        Good.__init__(self, options, folder, run_name)
        self.rows = []
        self.connection = sqlite3.connect(":memory:")

    def metrics(self, step: int, values: Mapping[str, float]) -> None:
        self.connection.execute("SELECT 1")
        Good.metrics(self, step, values)

    def close(self) -> None:
        self.connection.close()
        Good.close(self)


class NeverFlushes(Good):
    caught_by = "test_a_run_that_was_killed_goes_on"

    def flush(self) -> None:
        pass


class LockedForever(Good):
    caught_by = "test_a_run_that_was_killed_goes_on"

    def start(self, recipe: Mapping[str, object], step: int) -> None:
        Good.start(self, recipe, step)
        (self.folder / "lock").touch(exist_ok=False)

    def close(self) -> None:
        Good.close(self)
        (self.folder / "lock").unlink(missing_ok=True)


class EmptiesFirst(Good):
    caught_by = "test_a_run_that_is_killed_as_it_goes_on_keeps_its_rows"

    def start(self, recipe: Mapping[str, object], step: int) -> None:
        Good.start(self, recipe, step)
        self.file().write_text("[]")


class NameAsFile(Good):
    caught_by = "test_several_runs_log_at_once"

    def start(self, recipe: Mapping[str, object], step: int) -> None:
        Good.start(self, recipe, step)
        (self.folder / f"{self.run_name}.txt").touch()


class ClosesOnce(Good):
    caught_by = "test_closing_twice_does_nothing"

    def close(self) -> None:
        Good.close(self)
        del self.rows


class Suite(LoggerContract):
    plugin = Good

    def rows(self, folder: Path, run_name: str) -> Sequence[Row]:
        return read(folder / "rows.json")
