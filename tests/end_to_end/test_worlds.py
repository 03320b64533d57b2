"""Any number of processes computes the same run."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from runs import QUICK, losses


def golden_losses() -> list[float]:
    lines = Path(__file__).with_name("golden_losses.txt").read_text().splitlines()
    return [float(line.split()[1]) for line in lines]


@pytest.mark.parametrize("processes", [3, pytest.param(2, marks=pytest.mark.long)])
def test_any_number_of_processes_gives_the_same_losses(cpt: Callable, tmp_path: Path, processes: int) -> None:
    """Three processes do not divide the batch of 32: two of them run a sequence that is wholly masked.

    The losses are those of `golden_losses.txt`: a change that should not alter numerics leaves them, bit by bit on the machine that wrote
    them and within 2e-5 elsewhere; one that should writes them anew and says so.
    """
    words = (
        "train",
        "model.init=random",
        "data.train=domain.jsonl",
        "train.max_length=64",
        "train.global_batch_size=32",
        "train.max_steps=20",
        "optim.lr=1e-3",
        "sched.min_lr=5e-5",
        "train.validate_every=null",
        "eval.max_tokens=0",
        "run.output=o",
    )
    for count in (1, processes):
        cpt(*words, f"cluster.processes={count}", f"run.name=w{count}", "train.micro_batch_size=4")
    one, several = (losses(tmp_path / "o" / f"w{count}") for count in (1, processes))
    assert len(one) == 20
    assert one == pytest.approx(golden_losses(), abs=2e-5)
    assert max(abs(a - b) for a, b in zip(one, several, strict=True)) < 1e-4
    summaries = [
        json.loads((tmp_path / "o" / f"w{n}" / "manifest.json").read_text())["summary"]["held_out"]["after"] for n in (1, processes)
    ]
    assert max(summaries) - min(summaries) < 1e-4


@pytest.mark.long
def test_a_run_goes_on_with_another_number_of_processes(cpt: Callable, tmp_path: Path) -> None:
    words = (
        "train",
        "model.init=random",
        "data.train=domain.jsonl",
        "train.max_length=64",
        "train.global_batch_size=8",
        "sched=constant",
        "optim.lr=1e-3",
        "train.validate_every=null",
        "eval.max_tokens=0",
        "run.output=o",
    )
    cpt(*words, "run.name=whole", "train.max_steps=12")
    cpt(*words, "run.name=parts", "train.max_steps=6", "cluster.processes=2")
    cpt(*words, "run.name=parts", "train.max_steps=12", "cluster.processes=1")
    whole, parts = losses(tmp_path / "o/whole"), losses(tmp_path / "o/parts")
    assert max(abs(a - b) for a, b in zip(whole, parts, strict=True)) < 1e-4


@pytest.mark.long
def test_replicated_shards_and_recomputed_blocks_compute_the_same(cpt: Callable, tmp_path: Path) -> None:
    words = ("train", *QUICK, "train.max_steps=4", "train.validate_every=null", "eval.max_tokens=0", "run.output=o")
    cpt(*words, "run.name=plain")
    hsdp = ("cluster.processes=4", "parallel.dp_replicate=2", "parallel.dp_shard=2", "parallel.activation_checkpointing=full")
    done = cpt(*words, *hsdp, "run.name=hsdp")
    assert "mesh dp_replicate 2 x dp_shard 2" in done.stderr
    assert losses(tmp_path / "o/hsdp") == pytest.approx(losses(tmp_path / "o/plain"), abs=1e-5)
