"""manifest.json: what a run is, how far it came, and what it leaves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def new_manifest(
    *,
    identity: str,
    identity_parts: Mapping[str, Any],
    data: Mapping[str, Any],
    versions: Mapping[str, str],
    parent: str | None,
) -> dict[str, Any]:
    """The manifest of a run that begins.

    Args:
        identity: Hash of what decides the numbers.
        identity_parts: What it is the hash of, so that a difference can be shown.
        data: What the data is, by content.
        versions: Versions of the packages that take part.
        parent: The run that its weights come from, if any.
    """
    return {
        "status": "running",
        "steps": 0,
        "tokens": 0,
        "identity": identity,
        "data": data,
        "versions": versions,
        "parent": parent,
        "checkpoints": [],
        "final": None,
        "checkpoint_s3_bucket": None,
        "summary": {},
        "identity_parts": identity_parts,
    }
