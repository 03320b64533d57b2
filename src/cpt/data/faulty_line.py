"""What exactly is wrong with a line that is not `{"text": "..."}`, what to do about it, and which text can be kept."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from typing import Any, NoReturn

from cpt.errors import one_line

LONGEST_LINE_BYTES = 64 << 20
"""Longer lines are a fault: a document of this size was not meant to be one, and memory stays bounded."""
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
UTF_16_MARKS = (b"\xff\xfe", b"\xfe\xff")
CHAT_FIELDS = frozenset({"messages", "conversations", "conversation", "prompt", "completion", "instruction", "response"})
JSON_NAMES = {list: "an array", str: "a string", int: "a number", float: "a number", bool: "true or false", type(None): "null"}
EXAMPLE = 'Write one object on each line: {"text": "..."}'
NAMED_FIELDS = 5


@dataclass(frozen=True)
class LineFault:
    """Why a line is invalid.

    Args:
        kind: The sort of fault, in the same words for every line that has it.
        reason: What is wrong with this line.
        cure: What to do about it.
        text: The text that can be kept when the line is mended; None where there is none.
    """

    kind: str
    reason: str
    cure: str
    text: str | None = None


def diagnose(line: bytes) -> str | LineFault:
    """The text of a valid line, or the fault of any other; slow and exact."""
    if len(line) > LONGEST_LINE_BYTES:
        limit = LONGEST_LINE_BYTES >> 20
        return LineFault("line too long", f"is longer than {limit} MiB", "Split the document, or put one object on each line")
    if line.startswith(BYTE_ORDER_MARK):
        rest = diagnose(line[len(BYTE_ORDER_MARK) :])
        text = rest.text if isinstance(rest, LineFault) else rest
        return LineFault("byte order mark", "begins with a byte order mark", "Save the file as UTF-8 without one", text)
    if not line.strip(b" \t\r\n"):
        return LineFault("blank line", "is blank", "Remove the line")
    return _decode(line.rstrip(b"\r\n"))


def _decode(line: bytes) -> str | LineFault:
    try:
        parsed = json.loads(line.decode(), object_pairs_hook=_Members, parse_constant=_refuse_constant)
    except UnicodeDecodeError as error:
        encoding = "is UTF-16" if line.startswith(UTF_16_MARKS) else f"is not UTF-8 at byte {error.start + 1} of the line"
        return LineFault("not UTF-8", encoding, "Save the file as UTF-8")
    except json.JSONDecodeError as error:
        return LineFault(
            "not JSON", f"is not valid JSON: {error.msg}, column {error.colno}", 'Write one object on each line: {"text": "..."}'
        )
    except (ValueError, RecursionError) as error:
        return LineFault("not JSON", f"is not valid JSON: {one_line(error)}", EXAMPLE)
    if not isinstance(parsed, _Members):
        kind = JSON_NAMES[type(parsed)]
        return LineFault("not an object", f"is {kind}, not an object", EXAMPLE)
    return _check_members(parsed)


class _Members(list[tuple[str, Any]]):
    """The members of a JSON object as they stand, keys that occur twice included."""


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON value")


def _check_members(members: _Members) -> str | LineFault:
    counts = Counter(key for key, _ in members)
    further = [key for key in counts if key != "text"]
    text = next((value for key, value in members if key == "text"), None)
    keep = text if isinstance(text, str) and counts["text"] == 1 else None
    if any(count > 1 for count in counts.values()):
        twice = _named([key for key, count in counts.items() if count > 1])
        return LineFault("repeated field", f"has {twice} more than once", "Keep one", _encodable(keep))
    if "text" not in counts:
        return _no_text(further)
    if not isinstance(text, str):
        kind = "an object" if isinstance(text, _Members) else JSON_NAMES[type(text)]
        more = f", and has further fields: {_named(further)}" if further else ""
        return LineFault("text is not a string", f"has {kind} in `text`, not a string{more}", 'Write a string: {"text": "..."}')
    if further:
        reason = f"has further fields: {_named(further)}"
        return LineFault("further fields", reason, "Keep only `text`: cpt validate FILE --fix OUT.jsonl does", _encodable(keep))
    if text != _encodable(text):
        reason, cure = "has half a surrogate pair in `text`", "Write a character beyond U+FFFF as it is, or as both halves"
        return LineFault("half a surrogate pair", reason, cure, _encodable(text))
    return text


def _no_text(fields: list[str]) -> LineFault:
    reason = f"has no field `text`, only {_named(fields)}" if fields else "has no field `text`"
    if CHAT_FIELDS.isdisjoint(fields):
        return LineFault("no text", reason, 'Name the field that holds the text `text`: {"text": "..."}')
    cure = "This looks like chat data: continued pre-training takes plain text; write each conversation as one string into `text`"
    return LineFault("chat data", reason, cure)


def _named(fields: list[str]) -> str:
    shown = ", ".join(f"`{one_line(field, 40)}`" for field in fields[:NAMED_FIELDS])
    return shown + (f" and {len(fields) - NAMED_FIELDS} more" if len(fields) > NAMED_FIELDS else "")


def _encodable(text: str | None) -> str | None:
    """`text` with U+FFFD for what UTF-8 has no bytes for."""
    return text and text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
