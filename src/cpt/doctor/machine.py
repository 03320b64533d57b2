"""The machine: system, cores, memory, disk, GPUs. Read from the system and from metadata, without torch."""

from __future__ import annotations

import importlib.util
import os
import platform
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from cpt.cores import cores
from cpt.doctor.finding import Finding, Level
from cpt.errors import one_line
from cpt.launch.machine import gpus
from cpt.recipe.schema import Recipe

GB = 1e9
SHARED = Path("/dev/shm")  # noqa: S108  its size is read, nothing is written
BUSY = 1.5
"""Processes that ran in the last minute, a core: from here on what is measured is not what the machine can do."""
LITTLE_MEMORY_GB = 2.0
"""Less is taken by the command, one worker and torch alone."""
LITTLE_SHARED_GB = 1.0
"""Docker gives 64 MB: NCCL and gloo between processes of a node then fail or crawl. Source: NVIDIA's NCCL user guide, "Shared memory"."""
OLDEST_DRIVER = {11: 450, 12: 525, 13: 580}
"""NVIDIA's driver by the major version of CUDA. Source: CUDA release notes, minor version compatibility."""
_NO_LIMIT_BYTES = 2**60
"""From here on a limit of control groups version 1 is none: its largest page-aligned number."""


def system(recipe: Recipe) -> Iterator[Finding]:  # noqa: ARG001  as every check
    """System, Python, cores."""
    host = platform.uname()
    text = f"{host.system} {host.release} · {host.machine} · Python {platform.python_version()} · {count(cores(), 'core')}"
    of = os.cpu_count() or 0
    text += f" of {of} may be used" if of > cores() else ""
    load = os.getloadavg()[0]
    figures = {"system": host.system, "kernel": host.release, "python": platform.python_version(), "cores": cores(), "load": load}
    if host.system != "Linux":
        yield Finding("machine", text, Level.WARNING, "only Linux is tested", figures)
    elif load > BUSY * cores():
        cure = "the speeds below are of what it leaves: look again when it is done"
        yield Finding("machine", f"{text} · busy: a load of {load:.0f}", Level.WARNING, cure, figures)
    else:
        yield Finding("machine", text, figures=figures)


def memory(recipe: Recipe) -> Iterator[Finding]:
    """Memory of the machine, what of it is free, the container's limit, and what processes share."""
    of_machine, free, limit = meminfo_gb("MemTotal"), meminfo_gb("MemAvailable"), memory_limit_gb()
    text = f"{free:.1f} of {of_machine:.1f} GB free · " + (f"the container's limit is {limit:.1f} GB" if limit else "no container limit")
    figures = {"memory_gb": of_machine, "free_memory_gb": free, "container_limit_gb": limit}
    if usable_memory_gb() < LITTLE_MEMORY_GB:
        yield Finding("memory", text, Level.WARNING, "end what else runs here: torch alone takes about 1 GB a process", figures)
    else:
        yield Finding("memory", text, figures=figures)
    several = (recipe.cluster.processes or len(gpus())) > 1
    if several and SHARED.is_dir() and (size := shutil.disk_usage(SHARED).total / GB) < LITTLE_SHARED_GB:
        cure = "give the container more: docker run --shm-size=8g, or an emptyDir of medium Memory"
        yield Finding("shared memory", f"{SHARED} has {size:.2f} GB for several processes", Level.WARNING, cure, {"shared_memory_gb": size})


def accelerators(recipe: Recipe) -> Iterator[Finding]:  # noqa: ARG001  as every check
    """GPUs by nvidia-smi, and whether torch's build can use them."""
    build, cuda = torch_build()
    found, failure = _nvidia_smi()
    figures = {"gpus": [dict(zip(("name", "memory_mb", "driver"), row, strict=False)) for row in found], "torch": build, "cuda": cuda}
    with_cuda = f"torch {build} " + (f"with CUDA {cuda}" if cuda else "without CUDA")
    if failure:
        cure = "mend the driver, or remove it where there is no GPU"
        yield Finding("GPUs", f"nvidia-smi fails: {failure} · {with_cuda}", Level.WARNING, cure, figures)
    elif not found and not gpus():
        yield Finding("GPUs", f"none: training runs on the CPU · {with_cuda}", figures=figures)
    else:
        yield _gpus(found, cuda, with_cuda, figures)


def _gpus(found: list[tuple[str, ...]], cuda: str | None, with_cuda: str, figures: Mapping[str, Any]) -> Finding:
    names = " + ".join(f"{sum(row[:2] == kind for row in found)} x {kind[0]}, {float(kind[1]) / 1000:.0f} GB" for kind in _kinds(found))
    text = f"{names or ', '.join(gpus())} · driver {found[0][2] if found else 'unknown'} · {with_cuda}"
    level, cure = _fit(cuda, found[0][2] if found else "")
    return Finding("GPUs", text, level, cure, figures)


def torch_build() -> tuple[str | None, str | None]:
    """Torch's version and the CUDA it was built with, read from its files; None for what is not there."""
    spec = importlib.util.find_spec("torch")  # finds it without running it
    if spec is None or spec.origin is None:
        return None, None
    text = Path(spec.origin).with_name("version.py").read_text()
    version, cuda = (re.search(rf"^{name}\b[^=]*= '([^']*)'", text, re.MULTILINE) for name in ("__version__", "cuda"))
    return version and version[1], cuda and cuda[1]


def usable_memory_gb() -> float:
    """What this process may still take of the machine's memory, in GB."""
    free = meminfo_gb("MemAvailable")
    return min(free, memory_limit_gb() or free)


def meminfo_gb(key: str, file: Path = Path("/proc/meminfo")) -> float:
    """A line of the kernel's account of memory, in GB."""
    return int(re.findall(rf"^{key}: +(\d+) kB", file.read_text(), re.MULTILINE)[0]) * 1024 / GB


def memory_limit_gb(groups: Path = Path("/sys/fs/cgroup"), membership: Path = Path("/proc/self/cgroup")) -> float | None:
    """The smallest memory limit of the control groups that this process is in, versions 2 and 1, in GB; None for no limit.

    Args:
        groups: Where control groups are mounted.
        membership: The file that names this process's own groups.
    """
    limits = []
    for line in membership.read_text().splitlines():
        _, controllers, own = line.split(":", 2)
        if controllers == "" or "memory" in controllers.split(","):
            group = groups / controllers / own.lstrip("/")
            name = "memory.limit_in_bytes" if controllers else "memory.max"
            files = [folder / name for folder in (group, *group.parents)]
            limits += [int(text) for file in files if file.is_file() and (text := file.read_text().strip()).isdecimal()]
    smallest = min(limits, default=_NO_LIMIT_BYTES)
    return smallest / GB if smallest < _NO_LIMIT_BYTES else None


def _nvidia_smi() -> tuple[list[tuple[str, ...]], str]:
    """Name, memory in MB and driver of each GPU, as text; and what the program says where it fails."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return [], ""
    query = [program, "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader,nounits"]
    listed = subprocess.run(query, capture_output=True, text=True, timeout=8, check=False)  # noqa: S603  (an argv, never a shell)
    if listed.returncode:
        return [], one_line((listed.stdout + listed.stderr).strip() or f"exit code {listed.returncode}", 200)
    rows = [tuple(cell.strip() for cell in line.split(",")) for line in listed.stdout.splitlines()]
    return [row for row in rows if len(row) == 3], ""


def _kinds(found: list[tuple[str, ...]]) -> list[tuple[str, ...]]:
    return list(dict.fromkeys(row[:2] for row in found))


def _fit(cuda: str | None, driver: str) -> tuple[Level, str]:
    """Whether torch's build can use a GPU with this driver, and what to do where it cannot."""
    if cuda is None:
        return Level.PROBLEM, "install a build of torch with CUDA: training would run on the CPU"
    oldest = OLDEST_DRIVER.get(int(cuda.split(".")[0]), 0)
    if (major := driver.split(".", maxsplit=1)[0]).isdecimal() and int(major) < oldest:
        return Level.PROBLEM, f"CUDA {cuda} needs driver {oldest} or newer: update it, or install an older build of torch"
    return Level.OK, ""


def count(number: int, one: str) -> str:
    """`1 core`, `2 cores`."""
    return f"{number} {one}{'' if number == 1 else 's'}"
