"""How long a sweep of 1,000 members takes to be composed and judged: `python dev/benchmarks/compose_sweep.py`."""

from __future__ import annotations

import resource
import time

from cpt.composition import open_sweep
from cpt.sweeps.sweep import Sweep

SWEEPS = {
    "grid of values": ("optim.lr=1e-4,2e-4", "train.max_steps=range(1,501)"),
    "grid of groups and values": (
        "model=nova_tiny,nova_micro,nova_lite,nova_pro",
        "optim.lr=range(1e-5,3e-5,1e-6)",
        "run.seed=range(0,13)",
    ),
    "random": (
        "sweeper=random",
        "sweeper.options.trials=1000",
        "optim.lr=tag(log,interval(1e-5,1e-3))",
        "model.hidden_dropout=interval(0,0.2)",
    ),
}

for name, words in SWEEPS.items():
    wall, processor = time.perf_counter(), time.process_time()
    members = len(Sweep.open(open_sweep(words)).members)
    wall, processor = time.perf_counter() - wall, time.process_time() - processor
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{name:<28}{members:>6} members  {processor:5.1f} s of processor  {wall:5.1f} s  {peak_mb:5.0f} MB at most")
