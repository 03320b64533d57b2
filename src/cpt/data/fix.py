"""A clean copy of JSONL data: every text that can be kept, and an account of the rest."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, BinaryIO

import msgspec

from cpt import storage
from cpt.data.faulty_line import LineFault
from cpt.data.lines import HashedReader, scan
from cpt.errors import DataError
from cpt.storage.remote import reported
from cpt.storage.scratch import put_in_place, scratch_beside

EXTENSION = ".jsonl"


@dataclass
class FixReport:
    """What `fix` did.

    Args:
        valid: Lines that were valid.
        kept: Invalid lines whose text was kept, by kind of fault.
        dropped: Lines that were dropped, by kind of fault.
    """

    valid: int = 0
    kept: Counter[str] = field(default_factory=Counter)
    dropped: Counter[str] = field(default_factory=Counter)

    @property
    def documents(self) -> int:
        """Documents of the copy."""
        return self.valid + self.kept.total()

    def count(self, found: str | LineFault) -> str | None:
        """Counts a line and returns the text to keep."""
        if not isinstance(found, LineFault):
            self.valid += 1
            return found
        (self.dropped if found.text is None else self.kept)[found.kind] += 1
        return found.text

    def to_json(self) -> dict[str, Any]:
        """What `cpt validate --fix OUT --json` prints."""
        return {"documents": self.documents, "valid": self.valid, "kept": dict(self.kept), "dropped": dict(self.dropped)}

    def lines(self) -> list[str]:
        """The account, a line a kind of fault."""
        head = (
            f"{self.documents:,} documents: {self.valid:,} were valid, {self.kept.total():,} mended; {self.dropped.total():,} lines dropped"
        )
        kinds = sorted({*self.kept, *self.dropped})
        return [head, *(f"  {kind}: {self.kept[kind]:,} kept, {self.dropped[kind]:,} dropped" for kind in kinds)]


def fix(locations: str | Sequence[str], out: str) -> FixReport:
    """Writes a valid file that holds the text of every line of `locations` whose text is beyond doubt.

    Further fields and byte order marks go; half a surrogate pair becomes U+FFFD; whatever has no single text is dropped. `out` appears
    whole or not at all.

    Args:
        locations: Files, globs, folders or URLs; of any extension.
        out: Path or URL of the copy.

    Raises:
        DataError: `out` does not end in `.jsonl`, is one of the inputs, or no text can be kept.
        StorageError: Something cannot be read or written.
    """
    if not out.endswith(EXTENSION):
        raise DataError("--fix", out, f"must end in {EXTENSION}", "Rename it")
    if _place(out) in map(_place, storage.expand(locations, "cpt validate")):
        raise DataError("--fix", out, "is one of the files to mend: what is dropped would be lost", "Name another file")
    target = storage.cache_folder() / "fixed" / storage.base_name(out) if storage.is_url(out) else storage.local_path(out)
    with reported(out), scratch_beside(target) as scratch:
        copy = scratch / target.name
        with copy.open("wb") as stream:
            report = _write_texts(locations, stream)
            stream.flush()
            os.fsync(stream.fileno())
        if report.documents == 0:
            raise DataError("--fix", "", "no line holds a text that can be kept", "cpt validate FILE names the faults")
        if storage.is_url(out):
            storage.publish_file(copy, out)
        else:
            put_in_place(copy, target)
    return report


def _place(location: str) -> str:
    return location if storage.is_url(location) else str(storage.local_path(location).resolve())


def _write_texts(locations: str | Sequence[str], stream: BinaryIO) -> FixReport:
    report = FixReport()
    for file in storage.expand(locations, "cpt validate"):
        with storage.open_binary(file) as source:
            for _, _, found in scan(HashedReader(source)):
                text = report.count(found)
                if text is not None:
                    stream.write(msgspec.json.encode({"text": text}) + b"\n")
    return report
