"""What a sweep of 1,000 members costs the command that watches it: `python dev/benchmarks/watch_sweep.py`."""

from __future__ import annotations

import json
import resource
import tempfile
import time
from collections.abc import Callable

from cpt.composition import open_sweep
from cpt.sweeps import table
from cpt.sweeps.page import page
from cpt.sweeps.sweep import Sweep

MEMBERS, STEPS, VALIDATIONS = 1000, 10_000, 20


def write_metrics(sweep: Sweep) -> None:
    """What runs in their middle have written."""
    rows = [
        {"step": step, "train/loss": 6 - step / STEPS, "train/tokens": 1000 * step, "train/tokens_per_second": 9e4} for step in range(STEPS)
    ]
    for step in range(0, STEPS, STEPS // VALIDATIONS):
        rows[step]["validation/domain/loss"] = 6 - step / STEPS
    text = "".join(json.dumps(row) + "\n" for row in rows)
    first = sweep.members[0].run.local / "metrics.jsonl"
    for member in sweep.members:
        member.run.local.mkdir(parents=True)
        (member.run.local / "manifest.json").write_text('{"status": "running", "steps": 0}')
        file = member.run.local / "metrics.jsonl"
        file.write_text(text) if member is sweep.members[0] else file.hardlink_to(first)


def timed(name: str, what: Callable[[], object]) -> None:
    """Prints how long something takes."""
    began = time.process_time()
    what()
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{name:<50}{time.process_time() - began:7.2f} s of processor  {peak_mb:5.0f} MB at most")


def main() -> None:
    """Measures."""
    with tempfile.TemporaryDirectory() as folder:
        words = ("optim.lr=1e-4,1e-3", f"train.max_steps=range(1,{MEMBERS // 2 + 1})", f"run.output={folder}", "run.name=s")
        sweep = Sweep.open(open_sweep(words))
        timed("nothing has begun: a row for the status line", lambda: table.best(sweep))
        write_metrics(sweep)
        timed(f"{MEMBERS:,} metrics of {STEPS:,} rows, read for the first time", sweep.read)
        timed("read again, nothing new", sweep.read)
        timed("a row for the status line", lambda: table.best(sweep))
        timed("sweep.csv", lambda: table.as_csv(sweep))
        timed("sweep.html", lambda: page(sweep))
        size_bytes = (sweep.members[0].run.local / "metrics.jsonl").stat().st_size
        print(f"sweep.html has {len(page(sweep)) / 1e6:.1f} MB; the metrics have {size_bytes * MEMBERS / 1e9:.1f} GB")


if __name__ == "__main__":
    main()
