"""The data source of files: JSON lines behind paths, globs, folders and URLs."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence

from pydantic import BaseModel

from cpt import storage
from cpt.contracts import DataSource
from cpt.data.jsonl import FileReport, read_texts, validate
from cpt.errors import DataError


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

    def size_bytes(self, locations: Sequence[str]) -> int:
        """Bytes of the files."""
        return sum(storage.size_bytes(file) for file in storage.expand(locations, "data"))

    def _files(self, locations: Sequence[str]) -> list[FileReport]:
        key = tuple(locations)
        if key not in self._validated:
            report = validate(key)
            if not report.valid:
                raise DataError.of(report.shown())
            self._validated[key] = sorted(report.files, key=lambda file: file.sha256)
        return self._validated[key]
