"""What a run is: a hash of everything that decides its numbers, and the name that follows from it."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

LONGEST_NAME = 34
"""Characters; Amazon's limit for a run's name."""


def identity(parts: Mapping[str, Any]) -> str:
    """SHA-256 (hex) of `parts` as canonical JSON: equal content, equal identity, whatever the order of keys."""
    canonical = json.dumps(parts, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()


def default_name(model_name: str, identity: str) -> str:
    """The run's name where none is given: `<model, with dashes>-<8 hex digits>`; lowercase, digits, dashes, at most 34."""
    model = re.sub(r"[^a-z0-9]+", "-", model_name.lower()).strip("-")[: LONGEST_NAME - 9].strip("-")
    return f"{model or 'run'}-{identity[:8]}"


def difference(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Where two identities' parts differ, a line a key: `train.max_length: 256 → 512`."""
    before, after = dict(_flatten("", old)), dict(_flatten("", new))
    keys = [*before, *(key for key in after if key not in before)]
    return [f"{key}: {_shown(before, key)} → {_shown(after, key)}" for key in keys if _shown(before, key) != _shown(after, key)]


def _flatten(prefix: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping) and value:
        for key, inner in value.items():
            yield from _flatten(f"{prefix}.{key}" if prefix else str(key), inner)
    else:
        yield prefix, value


def _shown(values: dict[str, Any], key: str) -> str:
    return json.dumps(values[key], ensure_ascii=False) if key in values else "absent"
