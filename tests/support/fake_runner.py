"""A runner of real processes that train nothing: each writes what a run would, a row every few milliseconds."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cpt.contracts import JobRef, JobState, JobStatus
from cpt.errors import RecipeError, ResourceError
from cpt.sweeps.members import Member
from cpt.sweeps.roles import Runner, Started
from cpt.sweeps.sweep import Sweep

MEMBER = """
import json, math, signal, sys, time
from pathlib import Path
folder, steps, rate, pause_s, fails = Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]), float(sys.argv[4]), sys.argv[5]
def stop(*_):
    sys.exit(75)
signal.signal(signal.SIGTERM, stop)
metrics = folder / "metrics.jsonl"
begun = len(metrics.read_text().splitlines()) if metrics.exists() else 0
for step in range(begun, steps + 1):
    loss = 6 - step / steps * (4 - abs(math.log10(rate) + 3))
    with metrics.open("a") as file:
        file.write(json.dumps({"step": step, "validation/domain/loss": loss, "train/loss": loss}) + chr(10))
    time.sleep(pause_s)
    if fails != "0" and step >= 1:
        print("error: optim.lr: too large: it must be smaller. Lower it")
        sys.exit(int(fails))
manifest = folder / "manifest.json"
manifest.write_text(json.dumps({"status": "completed", "steps": steps}))
"""


@dataclass
class FakeRunner(Runner):
    """Runs `MEMBER` for each member.

    Attributes:
        fails: Exit code by label, or 0; a label is taken out once it has failed as often as it shall.
        refused: Labels that cannot be started.
        started: Labels, in the order they were started.
        batches: How many members were handed over at once.
        asked: How many jobs each question was about.
        before_preparing: Called with each member.
        deaf: How often the next calls of `stop` are refused.
    """

    queues: bool = False
    throttles: bool = False
    parallel: int | None = 2
    poll_s: float = 0.01
    starts: int = 3
    pause_s: float = 0.005
    steps: int = 4
    fails: dict[str, list[int]] = field(default_factory=dict)
    refused: set[str] = field(default_factory=set)
    started: list[str] = field(default_factory=list)
    batches: list[int] = field(default_factory=list)
    asked: list[int] = field(default_factory=list)
    before_preparing: Callable[[Member], None] = lambda _: None
    deaf: int = 0
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    most_at_once: int = 0

    def adopt(self, members: Sequence[Member]) -> list[JobRef | None]:
        return [self._adopt(member) for member in members]

    def _adopt(self, member: Member) -> JobRef | None:
        found = self.processes.get(member.label)
        return JobRef(member.label, member.label, "") if found and found.poll() is None else None

    def prepare(self, member: Member) -> None:
        self.before_preparing(member)

    def start(self, members: Sequence[Member]) -> Iterator[list[tuple[Member, Started]]]:
        self.batches += [len(members)] if members else []
        for member in members:
            yield [(member, self._start(member))]

    def _start(self, member: Member) -> Started:
        if member.label in self.refused:
            return RecipeError("data.train", "gone.jsonl", "is not there")
        assert member.composed
        folder = member.run.local
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "recipe.json").write_text(json.dumps(member.composed.recipe.kept()))
        (folder / "manifest.json").write_text(json.dumps({"status": "running", "steps": 0}))
        code = self.fails[member.label].pop(0) if self.fails.get(member.label) else 0
        argv = [str(folder), str(self.steps), str(member.composed.recipe.optim.lr), str(self.pause_s), str(code)]
        with (folder / "log").open("w") as log:
            self.processes[member.label] = subprocess.Popen([sys.executable, "-c", MEMBER, *argv], stdout=log)
        self.started.append(member.label)
        self.most_at_once = max(self.most_at_once, sum(process.poll() is None for process in self.processes.values()))
        return JobRef(member.label, member.label, str(folder))

    def statuses(self, jobs: Sequence[JobRef]) -> list[JobStatus]:
        self.asked.append(len(jobs))
        return [self._status(job) for job in jobs]

    def _status(self, job: JobRef) -> JobStatus:
        code = self.processes[job.id].poll()
        if code is None:
            return JobStatus(JobState.RUNNING)
        return JobStatus(JobState.COMPLETED if code == 0 else JobState.FAILED, "", code if code >= 0 else None)

    def stop(self, job: JobRef) -> None:
        if self.deaf:
            self.deaf -= 1
            raise ResourceError("queue", "", "does not answer")
        self.processes[job.id].send_signal(signal.SIGTERM)

    def collect(self, member: Member) -> None:
        pass

    def messages(self, job: JobRef) -> list[str]:
        return [line.removeprefix("error: ") for line in (Path(job.folder) / "log").read_text().splitlines()]

    def close(self) -> None:
        for process in self.processes.values():
            process.kill()
            process.wait()


@dataclass
class Seen:
    """What the driver told."""

    ends: list[tuple[str, str]] = field(default_factory=list)
    reports: int = 0

    def ended(self, sweep: Sweep, member: Member) -> None:
        self.ends.append((member.label, member.state.value))

    def looked(self, sweep: Sweep) -> None:
        pass

    def report(self, sweep: Sweep) -> None:
        self.reports += 1
