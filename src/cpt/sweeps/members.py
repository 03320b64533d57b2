"""The members of a sweep: what they are called, what they are, how they fare."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from cpt.composition import Composed
from cpt.contracts import JobRef, Trial, TrialState
from cpt.errors import EXIT_DONE, CptError, Fault, UserError
from cpt.rundir import RunDirectory
from cpt.sweeps.record import RunRecord

AT_ONCE = 16
"""Members that are read from disk, or from a URL, at once."""
LONGEST_LABEL = 150
"""Characters of a member's name."""
COMPARED = ("model", "optim", "sched", "train", "data", "tokenizer")
"""Groups of the recipe in which a finished run must be what is asked for now."""


class MemberState(StrEnum):
    """How a member fares."""

    WAITING = "waiting"
    """Not begun, or stopped and to go on."""
    QUEUED = "queued"
    RUNNING = "running"
    COMPLETED = "completed"
    PRUNED = "pruned"
    FAILED = "failed"


OPEN = (MemberState.QUEUED, MemberState.RUNNING)
"""States in which a job has the member."""
_TRIALS = {
    MemberState.COMPLETED: TrialState.COMPLETED,
    MemberState.PRUNED: TrialState.PRUNED,
    MemberState.FAILED: TrialState.FAILED,
}


@dataclass(eq=False)
class Member:
    """One run of a sweep.

    Args:
        label: Its name within the sweep.
        values: Its value on each axis.
        run: Where it stands.
        composed: Its recipe; None where `faults` say why there is none.
        faults: What is wrong with its recipe.
        error: What went wrong with it, in lines.
        state: How it fares.
        record: Its metrics.
        begun: Whether anything of it was found on disk.
        job: Who does it.
        starts: How often this command has started it.
        exit_code: How it ended, if it failed.
    """

    label: str
    values: Mapping[str, str]
    run: RunDirectory
    composed: Composed | None = None
    faults: tuple[Fault, ...] = ()
    error: tuple[str, ...] = ()
    state: MemberState = MemberState.WAITING
    begun: bool = False
    job: JobRef | None = None
    starts: int = 0
    exit_code: int = EXIT_DONE
    record: RunRecord = field(init=False)

    def __post_init__(self) -> None:
        self.record = RunRecord(self.run)

    def read(self) -> None:
        """Finds on disk whether it is done, and how far it came."""
        self.begun, manifest = True, self.run.manifest() or {}
        done = manifest.get("status") == "completed"
        if done and self.composed and _decides(self.run.recipe()) == _decides(self.composed.recipe.kept()):
            self.state = MemberState.COMPLETED
        if manifest:
            self.record.refresh()

    def fail(self, error: CptError) -> None:
        """Notes what went wrong."""
        self.state, self.job, self.exit_code = MemberState.FAILED, None, error.exit_code
        self.error = tuple(str(error).splitlines())
        self.faults = error.faults if isinstance(error, UserError) else ()

    def trial(self, metric: str | None) -> Trial:
        """What the sweeper is shown."""
        reports = {step: value for step, value in self.record.losses.get(metric or "", {}).items() if math.isfinite(value)}
        value = self.record.after(metric) if self.state is MemberState.COMPLETED else None
        return Trial(
            self.values, _TRIALS.get(self.state, TrialState.RUNNING), value if value is not None and math.isfinite(value) else None, reports
        )

    @property
    def total_steps(self) -> int | None:
        """Optimizer steps of the whole run, where the recipe says."""
        return self.composed.recipe.train.max_steps if self.composed else None


def label(overrides: Iterable[str], taken: Collection[str]) -> str:
    """A member's name: its overrides joined by commas, as a folder's name.

    Other characters than letters, digits and `._=,+-` are replaced by `_`; one that would be long, or is among `taken`, ends in a hash.
    """
    exact = ",".join(overrides)
    name = re.sub(r"[^\w.=,+-]", "_", exact, flags=re.ASCII).strip(".") or "as_composed"
    if len(name) > LONGEST_LABEL or name in taken:
        return f"{name[: LONGEST_LABEL - 9]}-{hashlib.sha256(exact.encode()).hexdigest()[:8]}"
    return name


def _decides(kept: Mapping[str, object]) -> object:
    """Of a recipe, what a finished run must share with what is asked for."""
    run, data = kept.get("run"), kept.get("data")
    assert run is None or isinstance(run, Mapping)
    assert data is None or isinstance(data, Mapping)
    groups = {group: kept.get(group) for group in COMPARED}
    return {**groups, "data": {**(data or {}), "store": None}, "seed": (run or {}).get("seed")}
