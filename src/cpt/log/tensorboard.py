"""TensorBoard event files in the run's `tensorboard/` folder, written by tensorboard's own writer, without torch."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pydantic import Field

from cpt.contracts import Logger
from cpt.recipe.frozen import Frozen

if TYPE_CHECKING:
    from tensorboard.summary.writer.event_file_writer import EventFileWriter

FOLDER = "tensorboard"


class TensorBoardOptions(Frozen):
    """The recipe's `logger.tensorboard`."""

    flush_s: float = Field(default=10.0, gt=0)
    """Seconds between writes to disk."""


class TensorBoardLogger(Logger):
    """Scalars under the names of metrics.jsonl, samples and the recipe as texts."""

    Options = TensorBoardOptions
    options: TensorBoardOptions
    _writer: EventFileWriter

    def start(self, recipe: Mapping[str, object], step: int) -> None:
        """Opens a new event file, which voids what an earlier process logged after `step`; everything, where the run begins anew at 0.

        Source: `_CheckForRestartAndMaybePurge` in tensorboard's event_accumulator.py: a SessionLog START at step k purges all from k on.
        """
        from tensorboard.compat.proto.event_pb2 import SessionLog  # noqa: PLC0415  (slow, and only needed by runs that log)
        from tensorboard.summary.writer.event_file_writer import EventFileWriter  # noqa: PLC0415

        self._writer = EventFileWriter(str(self.folder / FOLDER), flush_secs=self.options.flush_s)
        self._write(step + 1 if step else 0, session_log=SessionLog(status=SessionLog.START))
        self.text(step, "recipe", f"```json\n{json.dumps(recipe, indent=2)}\n```")

    def metrics(self, step: int, values: Mapping[str, float]) -> None:
        """One scalar a value."""
        from tensorboard.compat.proto.summary_pb2 import Summary  # noqa: PLC0415

        scalars = [Summary.Value(tag=name, simple_value=value) for name, value in values.items()]
        self._write(step, summary=Summary(value=scalars))

    def text(self, step: int, name: str, text: str) -> None:
        """A text of the text dashboard, which shows it as Markdown."""
        from tensorboard.compat.proto.summary_pb2 import Summary, SummaryMetadata  # noqa: PLC0415
        from tensorboard.compat.proto.tensor_pb2 import TensorProto  # noqa: PLC0415
        from tensorboard.compat.proto.types_pb2 import DT_STRING  # noqa: PLC0415

        metadata = SummaryMetadata(plugin_data=SummaryMetadata.PluginData(plugin_name="text"))
        tensor = TensorProto(dtype=DT_STRING, string_val=[text.encode()])
        self._write(step, summary=Summary(value=[Summary.Value(tag=name, metadata=metadata, tensor=tensor)]))

    def figure(self, step: int, name: str, figure: Mapping[str, object]) -> None:
        """Nothing: TensorBoard shows pictures, and making one of a figure takes a plotting library."""

    def flush(self) -> None:
        """Writes what is left."""
        self._writer.flush()

    def close(self) -> None:
        """Writes what is left, and closes the file."""
        self._writer.close()

    def _write(self, step: int, **content: Any) -> None:
        from tensorboard.compat.proto.event_pb2 import Event  # noqa: PLC0415

        self._writer.add_event(Event(wall_time=time.time(), step=step, **content))
