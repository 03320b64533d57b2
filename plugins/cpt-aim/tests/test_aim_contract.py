"""What every logger promises, read back through Aim's SDK."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from aim.sdk.repo import Repo

from cpt.testing import LoggerContract
from cpt_aim import AimLogger


def read_metrics(repo_folder: Path, run_name: str) -> list[tuple[int, str, float]]:
    """Every point of the runs of that name, as a reader of the repository sees them."""
    found = Repo(str(repo_folder)).query_metrics(f"run.name == {run_name!r}", report_mode=0)
    return [(step, metric.name, value) for metric in found.iter() for step, (value, *_) in metric.data.items()]


class TestAim(LoggerContract):
    plugin = AimLogger

    def rows(self, folder: Path, run_name: str) -> Sequence[tuple[int, str, float]]:
        return read_metrics(folder.parents[len(Path(run_name).parts) - 1], run_name)
