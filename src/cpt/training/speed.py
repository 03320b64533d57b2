"""How fast this machine is where training feels it: matrix products, and the all-reduce between its processes."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist

from cpt.job import Job

ALL_REDUCE_BYTES = 64 * 2**20
PRODUCT_S = 0.5
"""Seconds that each kind of matrix product is repeated for; the fastest counts, so that what else runs counts little."""
REDUCTIONS = 5
WIDTH = {"cpu": 1024, "cuda": 8192}
"""Rows and columns of the square matrices: large enough for full speed, small enough for a moment."""
TIMEOUT = timedelta(seconds=30)


def measure(job: Job) -> dict[str, Any]:  # noqa: ARG001  as every verb
    """TFLOP/s of a process in fp32 and bf16 while all processes compute, and the bus bandwidth of their all-reduce in GB/s."""
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    device = _device()
    backend = "nccl" if device.type == "cuda" else "gloo"
    if processes > 1:
        dist.init_process_group(backend, timeout=TIMEOUT, device_id=device if device.type == "cuda" else None)
        dist.barrier()
    return {
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU",
        "processes": processes,
        "threads": torch.get_num_threads(),
        "tflops": {"fp32": _tflops(torch.float32, device), "bf16": _tflops(torch.bfloat16, device)},
        "backend": backend,
        "all_reduce_bytes": ALL_REDUCE_BYTES,
        "bus_gb_per_s": bus_gb_per_s(ALL_REDUCE_BYTES, _all_reduce_s(device), processes) if processes > 1 else None,
    }


def bus_gb_per_s(size_bytes: int, seconds: float, processes: int) -> float:
    """What each link carries in an all-reduce: 2 (n - 1) / n of the tensor, whatever the number n of processes.

    Source: NVIDIA, nccl-tests, doc/PERFORMANCE.md, "Bus bandwidth".
    """
    return 2 * (processes - 1) / processes * size_bytes / seconds / 1e9


def _device() -> torch.device:
    if not torch.cuda.is_available():
        return torch.device("cpu")
    device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")) % torch.cuda.device_count())
    torch.cuda.set_device(device)
    return device


def _tflops(dtype: torch.dtype, device: torch.device) -> float:
    width = WIDTH[device.type]
    left = torch.ones(width, width, dtype=dtype, device=device)
    seconds = _fastest_s(lambda: left @ left, device, lambda _, spent_s: spent_s < PRODUCT_S)
    return 2 * width**3 / seconds / 1e12


def _all_reduce_s(device: torch.device) -> float:
    tensor = torch.ones(ALL_REDUCE_BYTES // 4, device=device)
    # every rank makes the same number of calls, or the last would wait for ever
    return _fastest_s(lambda: dist.all_reduce(tensor), device, lambda count, _: count < REDUCTIONS)


def _fastest_s(act: Callable[[], object], device: torch.device, goes_on: Callable[[int, float], bool]) -> float:
    """Seconds of the fastest of several acts, after one that does not count."""
    act()
    fastest, count, began = float("inf"), 0, time.perf_counter()
    while count == 0 or goes_on(count, time.perf_counter() - began):
        _wait_for(device)
        started = time.perf_counter()
        act()
        _wait_for(device)
        fastest, count = min(fastest, time.perf_counter() - started), count + 1
    return fastest


def _wait_for(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
