"""Reads W&B's offline files: a LevelDB log of protobuf records.

Source: leveldb/doc/log_format.md; W&B puts 7 bytes before the first block's records.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from wandb.proto.wandb_internal_pb2 import Record

BLOCK, HEADER = 32_768, struct.Struct("<IHB")
FIRST, LAST, WHOLE = 2, 4, 1


def _payloads(data: bytes) -> Iterator[bytes]:
    assert data[:4] == b":W&B"
    at, parts = 7, list[bytes]()
    while at + HEADER.size <= len(data):
        if BLOCK - at % BLOCK < HEADER.size:
            at += BLOCK - at % BLOCK
            continue
        _, size, kind = HEADER.unpack_from(data, at)
        if kind == 0:
            return
        parts = [] if kind in (FIRST, WHOLE) else parts
        parts.append(data[at + HEADER.size : at + HEADER.size + size])
        at += HEADER.size + size
        if kind in (LAST, WHOLE):
            yield b"".join(parts)


def records(folder: Path) -> Iterator[Record]:
    """Every record of every offline run under a run's folder."""
    for path in sorted(folder.glob("wandb/offline-run-*/*.wandb")):
        yield from (Record.FromString(payload) for payload in _payloads(path.read_bytes()))


def history(folder: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """The rows: their step, and what was logged."""
    for record in records(folder):
        if record.WhichOneof("record_type") == "history":
            row: dict[str, Any] = {}
            for item in record.history.item:
                name, *field = item.nested_key or [item.key]
                place, key = (row.setdefault(name, {}), field[0]) if field else (row, name)
                place[key] = json.loads(item.value_json)
            yield record.history.step.num, {name: value for name, value in row.items() if not name.startswith("_")}
