"""What a logger must offer: a place for a run's numbers, texts and figures."""

from __future__ import annotations

import json
import secrets
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path

from pydantic import BaseModel

from cpt.contracts.options import NoOptions


class Logger(ABC):
    """Receives the metrics of a run. Never on the hot path, and never able to stop it.

    One process a run logs; it makes the logger on one thread and calls it, in order, on another. A run that was killed and goes on is
    the same run: the same `folder` and `run_name`, and a `start` at the step it goes on from. What a logger must find again then stands
    in `folder/loggers/<name>`, which is published with a run at a URL.

    Args:
        options: The recipe's `logger.<name>`, validated by `Options`.
        folder: The run's local folder.
        run_name: The run's name; unique within `run.output`, `<sweep>/<member>` for a member of a sweep.
    """

    Options: type[BaseModel] = NoOptions

    def __init__(self, options: BaseModel, folder: Path, run_name: str) -> None:
        self.options, self.folder, self.run_name = options, folder, run_name

    @abstractmethod
    def start(self, recipe: Mapping[str, object], step: int) -> None:
        """Called once a process, before the first row.

        Rows after `step` that an earlier process wrote are void; all of them where `step` is 0.
        """

    @abstractmethod
    def metrics(self, step: int, values: Mapping[str, float]) -> None:
        """One row: `train/loss`, `validation/<set>/loss`, ... at optimizer step `step`."""

    @abstractmethod
    def text(self, step: int, name: str, text: str) -> None:
        """A text sample at optimizer step `step`."""

    def figure(self, step: int, name: str, figure: Mapping[str, object]) -> None:  # noqa: B027  loggers that can show one override it
        """A figure at optimizer step `step`, as Plotly's JSON: `{"data": [...], "layout": {...}}`.

        Source: plotly.com/chart-studio-help/json-chart-schema.
        """

    def flush(self) -> None:  # noqa: B027  loggers that write at once need none
        """Called before a checkpoint: the run may be killed and go on from there, and what was logged so far must survive it."""

    @abstractmethod
    def close(self) -> None:
        """Flushes everything to disk."""

    def kept_id(self, name: str, letters: int) -> str:
        """What a tracker knows this run by: drawn once, kept with the run; a copy of its folder under another name is another run.

        Args:
            name: The logger's.
            letters: Hexadecimal digits, an even number.
        """
        path = self.folder / "loggers" / f"{name}.json"
        if path.exists() and (kept := json.loads(path.read_bytes()))["run"] == self.run_name:
            return str(kept["id"])
        drawn = secrets.token_hex(letters // 2)
        path.parent.mkdir(parents=True, exist_ok=True)
        beside = path.with_suffix(".partial")
        beside.write_text(json.dumps({"run": self.run_name, "id": drawn}))
        beside.replace(path)
        return drawn
