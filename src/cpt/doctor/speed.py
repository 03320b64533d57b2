"""How fast this machine computes and its processes sum: measured by worker processes, as training would start them."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from cpt.doctor.finding import Finding
from cpt.doctor.machine import count as count_of
from cpt.job import CRASHES, Job, launch
from cpt.launch.machine import gpus
from cpt.launch.processes import Processes
from cpt.recipe.schema import Recipe
from cpt.resources import processes_per_node


def speed(recipe: Recipe) -> Iterator[Finding]:
    """Matrix products of each process, and the all-reduce of all of them on this machine."""
    measured = _measured(processes_here(recipe))
    count, tflops = measured["processes"], measured["tflops"]
    each = f" in each of {count} processes at once" if count > 1 else ""
    products = " · ".join(f"{precision} {_rate(figure)}" for precision, figure in tflops.items())
    figures = {f"{precision}_tflops": figure for precision, figure in tflops.items()}
    yield Finding("products", f"{measured['device']}, {count_of(measured['threads'], 'thread')}: {products}{each}", figures=figures)
    if count == 1:
        yield Finding("all-reduce", "skipped: one process has nobody to sum with")
        return
    megabytes = measured["all_reduce_bytes"] / 2**20
    text = f"{count} processes, {measured['backend']}: {measured['bus_gb_per_s']:.2f} GB/s bus bandwidth, {megabytes:.0f} MB"
    yield Finding("all-reduce", text, figures={"bus_gb_per_s": measured["bus_gb_per_s"], "processes": count})


def processes_here(recipe: Recipe) -> int:
    """Processes of the recipe that this machine can run: for a cluster that it is not, no more than it has GPUs."""
    wanted = processes_per_node(recipe)
    return wanted if recipe.cluster.name == "local" else max(1, min(wanted, len(gpus())))


def _measured(processes: int) -> Mapping[str, Any]:
    folder = Path(tempfile.mkdtemp(prefix="cpt-doctor-"))
    remove = partial(shutil.rmtree, folder, ignore_errors=True)
    atexit.register(remove)  # this thread is left behind where the command is stopped meanwhile
    try:
        found: Mapping[str, Any] = launch(Job("measure", None, {}), Processes(processes).run, folder)
        return found
    finally:
        atexit.unregister(remove)
        if not list(folder.glob(CRASHES)):  # the message of a crash names its file
            remove()


def _rate(tflops: float) -> str:
    return f"{tflops:,.1f} TFLOP/s" if tflops >= 1 else f"{tflops * 1e3:,.0f} GFLOP/s"
