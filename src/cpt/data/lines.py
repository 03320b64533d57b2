"""A JSONL file line by line: each with its number, the byte it begins at, and its text or what is wrong with it."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator
from typing import Any, BinaryIO

import msgspec

from cpt.data.faulty_line import LONGEST_LINE_BYTES, LineFault, diagnose

BUFFER_BYTES = 1 << 20
QUOTES_OF_ONE_FIELD, QUOTES_OF_TWO_FIELDS = 4, 8


class Document(msgspec.Struct, forbid_unknown_fields=True):
    """A valid line."""

    text: str


decode = msgspec.json.Decoder(Document).decode


class HashedReader(io.RawIOBase):
    """A binary stream that is hashed and counted while it is read.

    Args:
        stream: What to read.
    """

    def __init__(self, stream: BinaryIO) -> None:
        self.stream, self.digest, self.size_bytes = stream, hashlib.sha256(), 0

    @property
    def sha256(self) -> str:
        """SHA-256 (hex) of what was read so far."""
        return self.digest.hexdigest()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        chunk = self.stream.read(len(buffer))
        buffer[: len(chunk)] = chunk
        self.digest.update(chunk)
        self.size_bytes += len(chunk)
        return len(chunk)


def scan(stream: HashedReader) -> Iterator[tuple[int, int, str | LineFault]]:
    """Each line from where `stream` stands: its number from 1, the byte from there that it begins at, and its text or its fault.

    Memory is bounded.
    """
    lines = io.BufferedReader(stream, BUFFER_BYTES)
    number = offset = 0
    while line := lines.readline(LONGEST_LINE_BYTES + 1):
        number += 1
        yield number, offset, text_of(line)
        offset += len(line)
        while len(line) > LONGEST_LINE_BYTES and not line.endswith(b"\n"):
            line = lines.readline(LONGEST_LINE_BYTES + 1)
            offset += len(line)


def text_of(line: bytes) -> str | LineFault:
    """The text of a line, or what is wrong with it.

    msgspec takes the last of two `text` without a word, so a line that may have two goes the slow way: one with eight quotes or more,
    unless all but four of them have a backslash before them.
    """
    quotes = line.count(b'"')
    is_one_field = quotes < QUOTES_OF_TWO_FIELDS or quotes - line.count(b'\\"') == QUOTES_OF_ONE_FIELD
    if is_one_field and len(line) <= LONGEST_LINE_BYTES:
        try:
            return decode(line).text
        except (msgspec.MsgspecError, UnicodeDecodeError):
            pass
    return diagnose(line)
