"""What every logger promises, read back from W&B's offline file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from wandb_offline_run import history

from cpt.testing import LoggerContract
from cpt_wandb import WandbLogger


class TestWandb(LoggerContract):
    plugin = WandbLogger
    options: ClassVar = {"mode": "offline"}

    def rows(self, folder: Path, run_name: str) -> Sequence[tuple[int, str, float]]:
        return [(step, name, value) for step, row in history(folder) for name, value in row.items() if isinstance(value, float | int)]
