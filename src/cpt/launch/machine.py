"""What this machine has: GPUs, and processes. Without torch."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path


def gpus() -> tuple[str, ...]:
    """The names of this machine's NVIDIA GPUs that `CUDA_VISIBLE_DEVICES` leaves visible; empty without a driver."""
    names = _driver_names()
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        return names
    chosen = [entry.strip() for entry in visible.split(",") if entry.strip() not in {"", "-1"}]
    return tuple(names[int(entry)] if entry.isdigit() and int(entry) < len(names) else "GPU" for entry in chosen) if names else ()


def start_time(pid: int) -> str | None:
    """When a process of this machine started, in the system's ticks since boot; None where there is none, or only its remains (Linux)."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except OSError:
        return None
    return fields[19] if fields[0] != "Z" else None


def _driver_names() -> tuple[str, ...]:
    if program := shutil.which("nvidia-smi"):
        try:
            listed = subprocess.run([program, "-L"], capture_output=True, text=True, timeout=20, check=True).stdout  # noqa: S603
            return tuple(line.split(": ", 1)[1].split(" (UUID")[0] for line in listed.splitlines() if line.startswith("GPU "))
        except (OSError, subprocess.SubprocessError):
            pass
    folder = Path("/proc/driver/nvidia/gpus")
    return tuple("NVIDIA GPU" for _ in folder.iterdir()) if folder.is_dir() else ()
