"""What is wrong with the text column of table files, and the identity of the texts in those that are valid."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

import numpy as np
import pyarrow as pa

from cpt.errors import DataError, Fault
from cpt_hf_datasets.places import version
from cpt_hf_datasets.tables import Table, is_text, open_table, texts

SHOWN_FAULTS = 20
OPTION = "data.options.text"


@dataclass(frozen=True)
class CheckedFile:
    """A file whose texts are valid.

    Args:
        location: Its absolute path or URL.
        rows: Texts in it.
        text_bytes: UTF-8 bytes of all texts.
        sha256: Of the texts and the borders between them (hex): independent of format, compression, batches and other columns.
        version: What changes when the file does, as it was before it was read.
    """

    location: str
    rows: int
    text_bytes: int
    sha256: str
    version: str


_valid: dict[tuple[str, str, str], CheckedFile] = {}
"""What this process has found valid, by location, version and column: many runs over the same files read them once."""


def check_files(files: Sequence[str], column: str, batch_rows: int) -> list[CheckedFile]:
    """Reads the texts of all files.

    Raises:
        DataError: Every file that cannot be read, has no such column or no rows; the first 20 faults in the rows of each, and their number.
    """
    checked, faults = [], list[Fault]()
    for file in files:
        try:
            key = (file, version(file), column)
            if key not in _valid:
                _valid[key] = _check(file, key[1], column, batch_rows)
            checked.append(_valid[key])
        except DataError as error:
            faults += error.faults
    if faults:
        raise DataError.of(faults)
    return checked


def _check(file: str, found_version: str, column: str, batch_rows: int) -> CheckedFile:
    faults, fault_count, rows, text_bytes = list[Fault](), 0, 0, 0
    sizes, data = hashlib.sha256(), hashlib.sha256()
    with open_table(file) as table:
        _check_column(table, file, column)
        for batch in texts(table, column, batch_rows):
            bad = list(_faults(batch, file, rows, column))
            faults, fault_count = (faults + bad)[:SHOWN_FAULTS], fault_count + len(bad)
            offsets, content = _buffers(batch)
            sizes.update(np.diff(offsets).astype("<i8").tobytes())
            data.update(content)
            rows, text_bytes = rows + len(batch), text_bytes + len(content)
    if fault_count > len(faults):
        faults.append(Fault(file, "", f"{fault_count:,} faults in all, {len(faults)} shown", "mend what writes the file"))
    if not rows:
        faults.append(Fault(file, "", "holds no rows", "Name a file that holds documents"))
    if faults:
        raise DataError.of(faults)
    return CheckedFile(file, rows, text_bytes, hashlib.sha256(sizes.digest() + data.digest()).hexdigest(), found_version)


def _check_column(table: Table, file: str, column: str) -> None:
    names = table.schema.names
    strings = [name for name in names if is_text(table.schema.field(names.index(name)).type)]
    close = get_close_matches(column, strings, n=1) or strings[:1]
    if names.count(column) != 1:
        cure = f"Did you mean {OPTION}={close[0]}?" if close else "it has no column of strings"
        raise DataError(OPTION, column, f"{file} has {names.count(column) or 'no'} such column, but {', '.join(names)}", cure)
    if column not in strings:
        kind = table.schema.field(column).type
        cure = f"Did you mean {OPTION}={close[0]}?" if close else "Write the text as one string a row"
        raise DataError(OPTION, column, f"is a column of {kind} in {file}, not of strings", cure)


def _faults(batch: pa.LargeStringArray, file: str, before: int, column: str) -> Iterator[Fault]:
    """The nulls and the texts that are not UTF-8; `before` rows went before."""
    for row in np.flatnonzero(batch.is_null().to_numpy(zero_copy_only=False)):
        cure = "Write a text, or leave the row out: dataset.filter(lambda row: row[column] is not None)"
        yield Fault(f"{file}: row {before + int(row)}", "null", f"column {column} has no text", cure)
    try:
        batch.validate(full=True)
    except pa.ArrowInvalid:
        for place, text in enumerate(batch.cast(pa.large_binary()).to_pylist()):
            if text is not None and not _is_utf8(text):
                where = f"{file}: row {before + place}"
                yield Fault(where, repr(text[:40]), f"column {column} is not UTF-8", "Decode it before it is written")


def _is_utf8(text: bytes) -> bool:
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True


def _buffers(batch: pa.LargeStringArray) -> tuple[np.ndarray[tuple[int], np.dtype[np.int64]], memoryview]:
    """Where each text begins and ends within all texts of `batch`, and their bytes."""
    _, offsets, content = batch.buffers()
    bounds = np.frombuffer(offsets, dtype=np.int64)[batch.offset : batch.offset + len(batch) + 1]
    return bounds, memoryview(content or b"")[bounds[0] : bounds[-1]]
