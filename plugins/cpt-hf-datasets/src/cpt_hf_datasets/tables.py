"""One column of a table file, batch by batch: parquet, and Arrow's stream and file formats. Memory is bounded by a batch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import accumulate
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.parquet as pq

from cpt.errors import DataError
from cpt_hf_datasets.places import open_file

PARQUET, ARROW_FILE = b"PAR1", b"ARROW1"
END_OF_STREAM = b"\xff\xff\xff\xff\x00\x00\x00\x00"
"""Source: Arrow columnar format, "IPC Streaming Format"."""
BUFFER_BYTES = 1 << 20
ANEW = "Write or fetch the file anew"


class Table(Protocol):
    """An open table file."""

    schema: pa.Schema

    def batches(self, column: str, batch_rows: int, begin: int, end: int) -> tuple[int, Iterable[pa.Array]]:
        """Arrays of the column that hold at least the rows from `begin` to `end`, and the row that the first of them begins at."""


@contextmanager
def open_table(location: str) -> Iterator[Table]:
    """The table in a file.

    Raises:
        DataError: It is not there, cannot be read, or is no table; so does reading it within the block.
    """
    try:
        with open_file(location) as stream:
            begin = stream.read(len(ARROW_FILE))
            if begin.startswith(PARQUET):
                yield _Parquet(stream)
            elif begin == ARROW_FILE:
                yield _ArrowFile(stream)
            else:
                yield _ArrowStream(stream)
    except (pa.ArrowException, EOFError) as error:
        cause = str(error).splitlines()[0].rstrip(". ")
        raise DataError(location, "", f"is not a whole parquet or Arrow file ({cause})", ANEW) from None


def texts(table: Table, column: str, batch_rows: int, begin: int = 0, end: int = 1 << 62) -> Iterator[pa.LargeStringArray]:
    """The column's rows from `begin` to `end`, at most `batch_rows` at once."""
    position, batches = table.batches(column, batch_rows, begin, end)
    for batch in batches:
        first, last = max(begin - position, 0), min(end - position, len(batch))
        for row in range(first, last, batch_rows):
            yield batch.slice(row, min(batch_rows, last - row)).cast(pa.large_string())
        position += len(batch)
        if position >= end:
            return


def is_text(kind: pa.DataType) -> bool:
    """Whether a column of this type holds strings."""
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def column_bytes(location: str, column: str) -> int | None:
    """Bytes of the column in a parquet file, uncompressed, as its metadata has them; None for another format."""
    with open_table(location) as table:
        return table.column_bytes(column) if isinstance(table, _Parquet) else None


class _Parquet:
    def __init__(self, stream: Any) -> None:
        self._file = pq.ParquetFile(stream, buffer_size=BUFFER_BYTES, pre_buffer=False)
        self.schema = self._file.schema_arrow

    def batches(self, column: str, batch_rows: int, begin: int, end: int) -> tuple[int, Iterable[pa.Array]]:
        groups = [self._file.metadata.row_group(group).num_rows for group in range(self._file.num_row_groups)]
        starts = [0, *accumulate(groups)]
        wanted = [group for group, rows in enumerate(groups) if starts[group] < end and starts[group] + rows > begin]
        batches = self._file.iter_batches(batch_rows, row_groups=wanted, columns=[column]) if wanted else ()
        return starts[wanted[0]] if wanted else 0, (batch.column(0) for batch in batches)

    def column_bytes(self, column: str) -> int:
        metadata = self._file.metadata
        groups = (metadata.row_group(group) for group in range(metadata.num_row_groups))
        chunks = (group.column(place) for group in groups for place in range(group.num_columns))
        return sum(chunk.total_uncompressed_size for chunk in chunks if chunk.path_in_schema == column)


class _ArrowStream:
    """What `datasets` writes."""

    def __init__(self, stream: Any) -> None:
        stream.seek(max(stream.seek(0, 2) - len(END_OF_STREAM), 0))
        if stream.read() != END_OF_STREAM:  # where a batch ends, a stream that was cut looks whole
            raise pa.ArrowInvalid("its end is missing")
        stream.seek(0)
        self._stream, self.schema = stream, pa.ipc.open_stream(stream).schema

    def batches(self, column: str, batch_rows: int, begin: int, end: int) -> tuple[int, Iterable[pa.Array]]:  # noqa: ARG002
        self._stream.seek(0)
        options = pa.ipc.IpcReadOptions(included_fields=[self.schema.get_field_index(column)])
        return 0, (batch.column(0) for batch in pa.ipc.open_stream(self._stream, options=options))


class _ArrowFile:
    def __init__(self, stream: Any) -> None:
        self._stream, self.schema = stream, pa.ipc.open_file(stream).schema

    def batches(self, column: str, batch_rows: int, begin: int, end: int) -> tuple[int, Iterable[pa.Array]]:  # noqa: ARG002
        options = pa.ipc.IpcReadOptions(included_fields=[self.schema.get_field_index(column)])
        reader = pa.ipc.open_file(self._stream, options=options)
        return 0, (reader.get_batch(number).column(0) for number in range(reader.num_record_batches))
