"""The data rules: JSON lines `{"text": "..."}` and nothing else, each fault with its line, its reason and its cure.

A file is valid iff its name ends in `.jsonl`, every line is a JSON object (RFC 8259, UTF-8, no byte order mark), the object has the
field `text`, which holds a string, and it has no other field. So a text may be empty or hold NUL (`\\u0000`), and a line may end in CRLF;
a blank line, a key that occurs twice, NaN and half a surrogate pair are faults. A file without lines is a fault too.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

from cpt import storage
from cpt.data.faulty_line import LineFault
from cpt.data.fix import EXTENSION, FixReport, fix
from cpt.data.lines import HashedReader, scan
from cpt.data.progress import Progress, silent
from cpt.errors import DataError, Fault, UserError

__all__ = ["EXTENSION", "FileFault", "FileReport", "FixReport", "Report", "fix", "read_range", "read_texts", "validate"]

REPORTED_FAULTS = 1_000
SHOWN_FAULTS = 20
PROGRESS_EVERY_LINES = 10_000


@dataclass(frozen=True)
class FileFault:
    """One fault of one file.

    Args:
        file: The file's location.
        line: Line from 1; None where the whole file is at fault.
        offset: Byte of the file that the line begins at; None likewise.
        reason: What is wrong.
        cure: What to do about it.
    """

    file: str
    line: int | None
    offset: int | None
    reason: str
    cure: str

    def to_fault(self) -> Fault:
        """The fault as every other error shows it: `FILE:LINE: REASON. CURE.`"""
        return Fault(self.file if self.line is None else f"{self.file}:{self.line}", "", self.reason, self.cure)

    def __str__(self) -> str:
        return str(self.to_fault())


@dataclass(frozen=True)
class FileReport:
    """What one file holds: its valid lines, the size and SHA-256 (hex) of its content, and its `storage.version` before it was read."""

    location: str
    documents: int
    size_bytes: int
    sha256: str
    version: str


@dataclass(frozen=True)
class Report:
    """What `validate` found.

    Args:
        files: A report of each file that was read.
        faults: The first 1,000 faults.
        fault_count: All faults.
    """

    files: tuple[FileReport, ...]
    faults: tuple[FileFault, ...]
    fault_count: int

    @property
    def documents(self) -> int:
        """Valid lines of all files."""
        return sum(file.documents for file in self.files)

    @property
    def valid(self) -> bool:
        """Whether there is no fault."""
        return self.fault_count == 0

    def to_json(self) -> dict[str, Any]:
        """What `cpt validate --json` prints."""
        counts = {"valid": self.valid, "files": len(self.files), "documents": self.documents, "fault_count": self.fault_count}
        return {**counts, "faults": [asdict(fault) for fault in self.faults]}

    def shown(self) -> list[Fault]:
        """The first 20 faults of each file and, where there are more, a last one with the total."""
        by_file: dict[str, list[FileFault]] = {}
        for fault in self.faults:
            by_file.setdefault(fault.file, []).append(fault)
        shown = [fault.to_fault() for faults in by_file.values() for fault in faults[:SHOWN_FAULTS]]
        if self.fault_count > len(shown):
            rule = f"{self.fault_count:,} faults in all, {len(shown):,} shown"
            shown.append(Fault("", "", rule, "cpt validate --json lists the first 1,000"))
        return shown


def validate(locations: str | Sequence[str], progress: Progress = silent, where: str = "data") -> Report:
    """Reads every line behind `locations` (files, globs, folders, URLs) and reports what breaks the rules. Memory is bounded.

    Args:
        locations: What to read.
        progress: Told of documents and bytes done.
        where: Key of the recipe that `locations` stand in.
    """
    tally = _Tally(progress)
    files: set[str] = set()
    for location in [locations] if isinstance(locations, str) else locations:
        with tally.reporting(location):
            files.update(storage.expand(location, where))
    for file in sorted(files):
        with tally.reporting(file):
            tally.read(file)
    return Report(tuple(tally.files), tuple(tally.faults), tally.fault_count)


class _Tally:
    """Counts and first faults of the files read so far."""

    def __init__(self, progress: Progress) -> None:
        self.progress = progress
        self.files: list[FileReport] = []
        self.faults: list[FileFault] = []
        self.fault_count = self.documents = self.size_bytes = 0

    def read(self, file: str) -> None:
        if not file.endswith(EXTENSION):
            reason, cure = f"must end in {EXTENSION}", f"Name a JSONL file, and rename it to end in {EXTENSION} if that is what it is"
            return self.add([FileFault(file, None, None, reason, cure)])
        documents, version = 0, storage.version(file)
        with storage.open_binary(file) as stream:
            hashed = HashedReader(stream)
            for number, offset, found in scan(hashed):
                if isinstance(found, LineFault):
                    self.add([FileFault(file, number, offset, found.reason, found.cure)])
                else:
                    documents += 1
                if number % PROGRESS_EVERY_LINES == 0:
                    self.progress("validate", self.documents + documents, self.size_bytes + hashed.size_bytes)
        if hashed.size_bytes == 0:
            self.add([FileFault(file, None, None, "is empty", "Name a file that holds documents")])
        self.files.append(FileReport(file, documents, hashed.size_bytes, hashed.sha256, version))
        self.documents, self.size_bytes = self.documents + documents, self.size_bytes + hashed.size_bytes
        return self.progress("validate", self.documents, self.size_bytes)

    @contextmanager
    def reporting(self, location: str) -> Iterator[None]:
        """Counts what cannot be read among the faults, so that the rest is read too."""
        try:
            yield
        except UserError as error:
            self.add(FileFault(location, None, None, fault.rule, fault.cure) for fault in error.faults)

    def add(self, faults: Iterable[FileFault]) -> None:
        for fault in faults:
            self.fault_count += 1
            if len(self.faults) < REPORTED_FAULTS:
                self.faults.append(fault)


def read_texts(location: str, sha256: str | None = None) -> Iterator[str]:
    """The texts of the file at `location`.

    Args:
        location: The file.
        sha256: What its content was when it was validated; None: any.

    Raises:
        DataError: A line is invalid, or the file has changed.
    """
    with storage.open_binary(location) as stream:
        hashed = HashedReader(stream)
        for number, offset, found in scan(hashed):
            if isinstance(found, LineFault):
                raise DataError(FileFault(location, number, offset, found.reason, found.cure).to_fault())
            yield found
    if sha256 not in (None, hashed.sha256):
        raise _changed(location)


def read_range(location: str, begin: int, end: int, version: str) -> Iterator[str]:
    """The texts of the lines that begin at the bytes from `begin` up to `end` of the file at `location`.

    Args:
        location: The file.
        begin: A byte of the file; it need not be where a line begins.
        end: Likewise.
        version: Its `storage.version` when it was validated.

    Raises:
        DataError: The file has changed.
    """
    if storage.version(location) != version:
        raise _changed(location)
    with storage.open_binary(location) as stream:
        skipped = 0
        if begin:
            stream.seek(begin - 1)
            skipped = len(stream.readline()) - 1
        for _, offset, found in scan(HashedReader(stream)):
            if begin + skipped + offset >= end:
                break
            if isinstance(found, LineFault):
                raise _changed(location)
            yield found
    if storage.version(location) != version:
        raise _changed(location)


def _changed(location: str) -> DataError:
    return DataError(location, "", "has changed since it was validated", "Run the same command again when nothing writes to it")
