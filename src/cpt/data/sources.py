"""The data source of files: JSON lines behind paths, globs, folders and URLs."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from itertools import accumulate, pairwise
from typing import cast

from pydantic import BaseModel, JsonValue

from cpt import storage
from cpt.contracts import DataSource
from cpt.data.jsonl import FileReport, read_range, read_texts, validate
from cpt.errors import DataError, StorageError

_valid: dict[tuple[str, str], FileReport] = {}
"""What this process has found valid, by location and version: many runs over the same files read them once."""


class JsonlSource(DataSource):
    """JSONL files, in the order of the hash of their content: neither names nor folders decide anything.

    Equal files count as often as they are named.
    """

    def __init__(self, options: BaseModel) -> None:
        super().__init__(options)
        self._validated: dict[tuple[str, ...], list[FileReport]] = {}

    def fingerprint(self, locations: Sequence[str]) -> str:
        """SHA-256 (hex) over the hashes of the files."""
        return hashlib.sha256("\n".join(file.sha256 for file in self._files(locations)).encode()).hexdigest()

    def documents(self, locations: Sequence[str]) -> Iterator[str]:
        """The texts, file after file."""
        for file in self._files(locations):
            yield from read_texts(file.location, file.sha256)

    def parts(self, locations: Sequence[str], count: int) -> Sequence[JsonValue]:
        """Stretches of bytes, `[file, begin, end, version]`, that share out the whole; a line belongs where it begins."""
        files = self._files(locations)
        starts = [0, *accumulate(file.size_bytes for file in files)]
        cuts = sorted({starts[-1] * number // count for number in range(count + 1)})
        return [_stretches(files, starts, begin, end) for begin, end in pairwise(cuts)]

    def part_documents(self, part: JsonValue) -> Iterator[str]:
        """The texts of the lines of a part."""
        for file, begin, end, version in cast("list[tuple[str, int, int, str]]", part):
            yield from read_range(file, begin, end, version)

    def size_bytes(self, locations: Sequence[str]) -> int:
        """Bytes of the files."""
        return sum(storage.size_bytes(file) for file in storage.expand(locations, "data"))

    def _files(self, locations: Sequence[str]) -> list[FileReport]:
        key = tuple(locations)
        if key not in self._validated:
            self._validated[key] = sorted(_valid_files(key), key=lambda file: file.sha256)
        return self._validated[key]


def _valid_files(locations: tuple[str, ...]) -> Sequence[FileReport]:
    """The reports of all files behind `locations`; none is read that has not changed since it was found valid.

    Raises:
        DataError: A fault.
    """
    try:
        return [_valid[file, storage.version(file)] for file in storage.expand(locations, "data")]
    except (KeyError, StorageError):
        report = validate(locations)
    if not report.valid:
        raise DataError.of(report.shown())
    _valid.update({(file.location, file.version): file for file in report.files})
    return report.files


def _stretches(files: Sequence[FileReport], starts: Sequence[int], begin: int, end: int) -> JsonValue:
    """What the bytes from `begin` to `end` of all files, one after the other, are in each."""
    return [
        [storage.absolute(file.location), max(begin - start, 0), min(end - start, file.size_bytes), file.version]
        for file, start in zip(files, starts, strict=False)
        if start < end and start + file.size_bytes > begin
    ]
