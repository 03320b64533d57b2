"""The data source: table files in the order of their texts' hashes."""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import accumulate, pairwise
from typing import cast

from pydantic import BaseModel, Field, JsonValue

from cpt.contracts import DataSource
from cpt.errors import DataError
from cpt.recipe.frozen import Frozen
from cpt_hf_datasets import places
from cpt_hf_datasets.check import CheckedFile, check_files
from cpt_hf_datasets.tables import column_bytes, open_table, texts


class HfDatasetsOptions(Frozen):
    """`data.options`."""

    text: str = "text"
    """Name of the column that holds the text."""
    split: str | None = None
    """Split of a `DatasetDict` folder, or of a folder of parquet files named `<split>-*.parquet`."""
    batch_rows: int = Field(default=1024, ge=1)
    """Rows in memory at once."""


class HfDatasetsSource(DataSource):
    """Texts of one column of `datasets` folders (`save_to_disk`) and of parquet files, local or behind URLs.

    Files stand in the order of the hash of their texts, rows in the file's own order. Neither names and folders nor format, compression
    and further columns decide anything.
    """

    Options: type[BaseModel] = HfDatasetsOptions

    def __init__(self, options: BaseModel) -> None:
        super().__init__(options)
        assert isinstance(options, HfDatasetsOptions)
        self._text, self._split, self._batch_rows = options.text, options.split, options.batch_rows
        self._checked: dict[tuple[str, ...], list[CheckedFile]] = {}

    def fingerprint(self, locations: Sequence[str]) -> str:
        """SHA-256 (hex) over the hashes of the files' texts."""
        return hashlib.sha256("\n".join(file.sha256 for file in self._files(locations)).encode()).hexdigest()

    def documents(self, locations: Sequence[str]) -> Iterator[str]:
        """The texts, file after file."""
        for file in self._files(locations):
            yield from self._rows(file.location, 0, file.rows, file.version)

    def parts(self, locations: Sequence[str], count: int) -> Sequence[JsonValue]:
        """Ranges of rows, `[file, begin, end, version]`, with about as many bytes of text each."""
        files = self._files(locations)
        starts = [0, *accumulate(file.text_bytes for file in files)]
        cuts = [_row_at(files, starts, starts[-1] * number // count) for number in range(count)]
        ends = sorted({(0, 0), *cuts, (len(files), 0)})
        return [_ranges(files, begin, end) for begin, end in pairwise(ends)]

    def part_documents(self, part: JsonValue) -> Iterator[str]:
        """The texts of the rows of a part."""
        for location, begin, end, version in cast("list[tuple[str, int, int, str]]", part):
            yield from self._rows(location, begin, end, version)

    def size_bytes(self, locations: Sequence[str]) -> int:
        """Bytes of the column, from the metadata of parquet files; of whole Arrow files, which say no more without being read."""
        files = places.find_files(locations, self._split)
        known = ((file, column_bytes(file, self._text)) for file in files)
        return sum(places.size_bytes(file) if found is None else found for file, found in known)

    def _files(self, locations: Sequence[str]) -> list[CheckedFile]:
        key = tuple(locations)
        if key not in self._checked:
            checked = check_files(places.find_files(key, self._split), self._text, self._batch_rows)
            self._checked[key] = sorted(checked, key=lambda file: file.sha256)
        return self._checked[key]

    def _rows(self, location: str, begin: int, end: int, version: str) -> Iterator[str]:
        _refuse_changed(location, version)
        with open_table(location) as table:
            for batch in texts(table, self._text, self._batch_rows, begin, end):
                yield from batch.to_pylist()
        _refuse_changed(location, version)


def _refuse_changed(location: str, version: str) -> None:
    if places.version(location) != version:
        raise DataError(location, "", "has changed since it was validated", "Run the same command again when nothing writes to it")


def _row_at(files: Sequence[CheckedFile], starts: Sequence[int], byte: int) -> tuple[int, int]:
    """File and row at about a byte of all texts, as if the rows of a file were of one size."""
    place = bisect_right(starts, byte, hi=len(files)) - 1
    file = files[place]
    return place, file.rows * (byte - starts[place]) // max(file.text_bytes, 1)


def _ranges(files: Sequence[CheckedFile], begin: tuple[int, int], end: tuple[int, int]) -> JsonValue:
    """The rows from `begin` (file, row) to `end` in each file."""
    ranges: list[JsonValue] = []
    for place, file in enumerate(files[begin[0] : end[0] + 1], begin[0]):
        first = begin[1] if place == begin[0] else 0
        last = end[1] if place == end[0] else file.rows
        if first < last:
            ranges.append([file.location, first, last, file.version])
    return ranges
