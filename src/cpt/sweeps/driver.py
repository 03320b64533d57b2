"""The loop of a sweep: starts members, watches them, ends those that are not worth it, until all are done or somebody stops it."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Protocol

from cpt.contracts import JobRef, JobState, JobStatus
from cpt.errors import EXIT_DONE, EXIT_OURS, EXIT_STUCK, EXIT_USER, CptError, Interrupted, Preempted
from cpt.sweeps.members import OPEN, Member, MemberState
from cpt.sweeps.sweep import Sweep

REPORT_S = 15.0
"""Seconds between two looks of a reader at the results while the sweep goes on."""
_STATES = {JobState.QUEUED: MemberState.QUEUED, JobState.RUNNING: MemberState.RUNNING}


Started = JobRef | CptError | None
"""What came of starting a member: its job, what was wrong, or nothing, since it is finished already."""


class Runner(Protocol):
    """Who runs members.

    Attributes:
        queues: Whether members that cannot run yet wait there, and go on when this command ends.
        parallel: Members that it runs at once; None: it knows best.
        poll_s: Seconds between two looks.
        starts: How often one command may start a member: what was killed or preempted begins again where it stopped.
    """

    queues: bool
    parallel: int | None
    poll_s: float
    starts: int

    def adopt(self, member: Member) -> JobRef | None:
        """The job of an earlier command that still has the member."""

    def start(self, members: Sequence[Member]) -> Sequence[Started]:
        """Starts members where they stopped."""

    def status(self, job: JobRef) -> JobStatus:
        """How a job stands."""

    def stop(self, job: JobRef) -> None:
        """Asks a job to commit and end."""

    def messages(self, job: JobRef) -> Sequence[str]:
        """What an ended job says went wrong, in lines."""


class Watcher(Protocol):
    """Who is told."""

    def ended(self, sweep: Sweep, member: Member) -> None:
        """A member is done, pruned, has failed, or was stopped and begins again."""

    def looked(self, sweep: Sweep) -> None:
        """All members that run were looked at."""

    def report(self, sweep: Sweep) -> None:
        """It is time to write down what is known."""


class Driver:
    """Drives one sweep.

    Args:
        sweep: The sweep, its members read from disk.
        runner: Runs its members.
        watcher: Is told.
        parallel: Members that may run at once; None: what `runner` says.
    """

    def __init__(self, sweep: Sweep, runner: Runner, watcher: Watcher, parallel: int | None) -> None:
        self.sweep, self.runner, self.watcher = sweep, runner, watcher
        self._limit = parallel or runner.parallel
        self._given_up: set[str] = set()
        self._judged_at: dict[str, int] = {}
        self._stopping = False
        self._reported_at = time.monotonic()

    def run(self) -> None:
        """Drives it to its end.

        Raises:
            Interrupted, Preempted: Told to stop; the same command goes on.
        """
        with _stop_signals() as stop:
            self._adopt()
            while stop.number is None and self._fill():
                self._watch()
                stop.wait(self.runner.poll_s)
            if stop.number is not None:
                self._stop(stop)
        self.watcher.report(self.sweep)
        if stop.number is not None:
            raise (Interrupted if stop.number == signal.SIGINT else Preempted)(self._standing())

    def _adopt(self) -> None:
        for member in self.sweep.members:
            if member.state is MemberState.WAITING and (job := self.runner.adopt(member)):
                member.job, member.state, member.starts = job, MemberState.RUNNING, 1

    def _fill(self) -> bool:
        """Starts what may be started; false once there is nothing more to wait for."""
        batch = self._batch()
        for member, job in zip(batch, self.runner.start(batch) if batch else (), strict=True):
            member.starts += 1
            if isinstance(job, JobRef):
                member.job, member.state = job, MemberState.QUEUED
                continue
            if job is None:
                member.state = MemberState.COMPLETED
                member.record.refresh()
            else:
                member.fail(job)
            self.watcher.ended(self.sweep, member)
        return bool(batch) or any(self._open())

    def _batch(self) -> list[Member]:
        """The members to start now: those that wait, then new ones."""
        waiting = [member for member in self.sweep.members if member.state is MemberState.WAITING]
        if self.runner.queues and not self.sweep.sweeper.looks_at_results:
            return waiting
        room = self.sweep.size if self._limit is None else self._limit - len(list(self._open()))
        batch = waiting[: max(0, room)]
        while len(batch) < room and (member := self.sweep.propose()):
            if member.state is MemberState.FAILED:
                self.watcher.ended(self.sweep, member)
            else:
                batch.append(member)
        return batch

    def _open(self) -> Iterator[Member]:
        return (member for member in self.sweep.members if member.state in OPEN)

    def _watch(self) -> None:
        for member in list(self._open()):
            self._look(member)
        self.watcher.looked(self.sweep)
        if time.monotonic() - self._reported_at > REPORT_S:
            self.watcher.report(self.sweep)
            self._reported_at = time.monotonic()

    def _look(self, member: Member) -> None:
        assert member.job is not None
        status, is_new = self.runner.status(member.job), member.record.refresh()
        if status.state.ended:
            self._end(member, status)
            self.watcher.ended(self.sweep, member)
            return
        member.state = _STATES[status.state]
        if is_new and self.sweep.sweeper.looks_at_results and member.label not in self._given_up:
            self._prune_if_bad(member)

    def _prune_if_bad(self, member: Member) -> None:
        assert member.job is not None
        trials = self.sweep.trials()
        trial = trials[self.sweep.members.index(member)]
        newest = max(trial.reports, default=None)
        if newest is None or newest == self._judged_at.get(member.label):  # a sweeper judges a report once
            return
        self._judged_at[member.label] = newest
        if self.sweep.sweeper.should_prune(trial, trials):
            self.sweep.prune(member)
            self._given_up.add(member.label)
            self.runner.stop(member.job)

    def _end(self, member: Member, status: JobStatus) -> None:
        """What becomes of a member whose job has ended."""
        job, member.job, member.state = member.job, None, MemberState.WAITING
        assert job is not None
        member.read()
        code = EXIT_OURS if status.exit_code in (None, EXIT_DONE) else status.exit_code
        starts_again = status.state is not JobState.CANCELLED and code not in (EXIT_USER, EXIT_STUCK) and member.starts < self.runner.starts
        if member.state is MemberState.COMPLETED:
            return
        if member.label in self._given_up:
            member.state = MemberState.PRUNED
        elif not (starts_again or self._stopping):
            member.state, member.exit_code = MemberState.FAILED, code
            member.error = tuple(self.runner.messages(job)) or (status.reason or f"ended with exit code {code}",)

    def _stop(self, stop: _Stop) -> None:
        """Lets members that die with this command commit first; a second signal waits no longer."""
        if self.runner.queues:
            return
        self._stopping = True
        asked = [member for member in self._open() if member.job]
        for member in asked:
            assert member.job is not None
            self.runner.stop(member.job)
        while (still := [member for member in asked if member.job]) and not stop.is_urgent:
            for member in still:
                assert member.job is not None
                if (status := self.runner.status(member.job)).state.ended:
                    self._end(member, status)
            time.sleep(min(self.runner.poll_s, 0.2))

    def _standing(self) -> str:
        done = sum(member.state in (MemberState.COMPLETED, MemberState.PRUNED) for member in self.sweep.members)
        still = len(list(self._open()))
        going_on = f"; {still} go on where they are" if still and self.runner.queues else ""
        return f"{done} of {self.sweep.size} members done{going_on}"


class _Stop:
    """Whether somebody asked this command to stop, and how often."""

    def __init__(self) -> None:
        self.number: int | None = None
        self.is_urgent = False
        self._event = threading.Event()

    def receive(self, number: int, _: FrameType | None) -> None:
        """A signal came."""
        if self.number is None:
            self.number = number
        else:
            self.is_urgent = True
        self._event.set()

    def wait(self, seconds: float) -> None:
        """Returns after so long, or when a signal comes."""
        self._event.wait(seconds)


@contextmanager
def _stop_signals() -> Iterator[_Stop]:
    """Takes the signals to stop over; only a main thread can."""
    stop = _Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)
    earlier: dict[int, Callable[[int, FrameType | None], object] | int | None] = {
        number: signal.signal(number, stop.receive) for number in numbers
    }
    try:
        yield stop
    finally:
        for number, handler in earlier.items():
            signal.signal(number, handler)
