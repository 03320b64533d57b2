"""How fast this machine is where training feels it: matrix products, and the all-reduce between its processes."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Any

import torch
import torch.distributed as dist

from cpt.job import Job

ALL_REDUCE_BYTES = 64 * 2**20
PRODUCTS_S = 1.0
"""Seconds that matrix products are repeated for, each precision in turn; the fastest counts, so that what else runs counts little."""
REDUCTIONS = 5
PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16}
WIDTH = {"cpu": 768, "cuda": 8192}
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
        "tflops": _tflops(device),
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


def _tflops(device: torch.device) -> dict[str, float]:
    width = WIDTH[device.type]
    factors = {name: torch.ones(width, width, dtype=dtype, device=device) for name, dtype in PRECISIONS.items()}
    products = {name: partial(torch.mm, factor, factor) for name, factor in factors.items()}
    fastest_s = dict.fromkeys(products, float("inf"))
    began = time.perf_counter()
    while time.perf_counter() - began < PRODUCTS_S:
        for name, product in products.items():
            fastest_s[name] = min(fastest_s[name], _seconds(product, device))
    return {name: 2 * width**3 / seconds / 1e12 for name, seconds in fastest_s.items()}


def _all_reduce_s(device: torch.device) -> float:
    tensor = torch.ones(ALL_REDUCE_BYTES // 4, device=device)
    return min(_seconds(partial(dist.all_reduce, tensor), device) for _ in range(REDUCTIONS))


def _seconds(act: Callable[[], object], device: torch.device) -> float:
    """How long an act takes, what it asks of a GPU included."""
    started = time.perf_counter()
    act()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - started
