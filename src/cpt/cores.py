"""Cores that this process may use."""

from __future__ import annotations

import math
import os
from pathlib import Path


def cores(groups: Path = Path("/sys/fs/cgroup"), membership: Path = Path("/proc/self/cgroup")) -> int:
    """Cores that this process may use, at least 1: its affinity, within the CPU limit of its container.

    Args:
        groups: Where control groups are mounted.
        membership: The file that names this process's own group.
    """
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(allowed, *map(math.ceil, _quotas(groups, membership)), allowed))


def _quotas(groups: Path, membership: Path) -> list[float]:
    """CPU limits in cores of the process's control group and of all above it (version 2), and of the container (version 1)."""
    found = []
    try:
        own = next(line.split("::", 1)[1] for line in membership.read_text().splitlines() if line.startswith("0::"))
    except (OSError, StopIteration):
        own = "/"
    group = groups / own.lstrip("/")
    for folder in [group, *(parent for parent in group.parents if parent.is_relative_to(groups))]:
        found.append(_quota(folder / "cpu.max"))
    found.append(_quota(groups / "cpu" / "cpu.cfs_quota_us", groups / "cpu" / "cpu.cfs_period_us"))
    return [quota for quota in found if quota is not None]


def _quota(*files: Path) -> float | None:
    """Cores: quota over period, from one file with both or from two files; None for no limit."""
    try:
        quota, period = " ".join(file.read_text() for file in files).split()
        return int(quota) / int(period) if int(quota) > 0 else None
    except (OSError, ValueError):
        return None
