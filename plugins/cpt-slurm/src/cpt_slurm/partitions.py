"""A task against the cluster's partitions, before it is submitted."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterator
from typing import NamedTuple

from cpt.contracts import Task
from cpt.errors import Fault
from cpt_slurm.options import SlurmOptions, minutes
from cpt_slurm.programs import ask


class Partition(NamedTuple):
    """A partition and its limits."""

    name: str
    is_default: bool
    nodes: int
    """Nodes that one job may have."""
    max_minutes: float
    """Longest time of a job; infinite where there is no limit."""


def partitions() -> list[Partition]:
    """The cluster's partitions, hidden ones too.

    Raises:
        ResourceError: The controller does not answer.
    """
    lines = ask(["scontrol", "--all", "--oneliner", "show", "partition"]).splitlines()
    return [_parse(dict(field.split("=", 1) for field in line.split() if "=" in field)) for line in lines if line.strip()]


def faults(task: Task, options: SlurmOptions, found: list[Partition]) -> Iterator[Fault]:
    """What no partition that the job may run in can give it."""
    by_name = {partition.name: partition for partition in found}
    named = options.partition or os.environ.get("SBATCH_PARTITION")
    names = named.split(",") if named else [partition.name for partition in found if partition.is_default]
    for name in names:
        if name not in by_name:
            yield Fault("launcher.options.partition", name, "the cluster has no such partition", _which(name, list(by_name)))
    chosen = [by_name[name] for name in names if name in by_name]
    if not chosen:
        return
    largest, longest = max(partition.nodes for partition in chosen), max(partition.max_minutes for partition in chosen)
    where = " and ".join(partition.name for partition in chosen)
    if task.nodes > largest:
        yield Fault("cluster.nodes", str(task.nodes), f"a job of partition {where} may have {largest}", "Ask for fewer")
    if options.time_limit and minutes(options.time_limit) > longest:
        rule = f"a job of partition {where} may take {longest:g} minutes"
        yield Fault("launcher.options.time_limit", options.time_limit, rule, "Ask for less: requeue or chain crosses time limits")


def _parse(fields: dict[str, str]) -> Partition:
    nodes, most, longest = int(fields["TotalNodes"]), fields["MaxNodes"], fields["MaxTime"]
    return Partition(
        fields["PartitionName"],
        fields["Default"] == "YES",
        min(nodes, int(most)) if most.isdecimal() else nodes,
        float("inf") if longest == "UNLIMITED" else minutes(longest),
    )


def _which(name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    return f"Did you mean {near[0]}?" if near else f"It has {', '.join(known) or 'none'}"
