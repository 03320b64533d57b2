"""What tests read from a run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

QUICK = (
    "model.init=random",
    "data.train=domain.jsonl",
    "train.max_length=64",
    "train.global_batch_size=8",
    "train.max_steps=6",
    "train.validate_every=3",
    "eval.max_tokens=4",
)
"""Overrides for a run of a few seconds: a small domain (`domain.jsonl`), nova_tiny's shape, six small steps."""


def rows(run: Path) -> list[dict[str, Any]]:
    """The rows of a run's metrics.jsonl."""
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def losses(run: Path) -> list[float]:
    """The training loss of each step."""
    return [row["train/loss"] for row in rows(run) if "train/loss" in row]
