"""The loop of a sweep: starts members, watches them, ends those that are not worth it, until all are done or somebody stops it."""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Collection, Iterable, Iterator, Sequence

from cpt.console import say
from cpt.contracts import JobRef, JobState, JobStatus, Trial
from cpt.errors import EXIT_DONE, EXIT_OURS, EXIT_STUCK, EXIT_USER, CptError, Interrupted, Preempted, StorageError, UserError
from cpt.launch.watch import PATIENCE_S
from cpt.sweeps.members import OPEN, Member, MemberState
from cpt.sweeps.roles import Runner, Started, Watcher
from cpt.sweeps.stopping import Stop, stop_signals
from cpt.sweeps.sweep import Sweep

REPORT_S, REPORTS_SHARE = 15.0, 0.05
"""Seconds between two looks of a reader at the results while the sweep goes on; and the share of the time that writing them may take."""
_STATES = {JobState.QUEUED: MemberState.QUEUED, JobState.RUNNING: MemberState.RUNNING}


class Driver:
    """Drives one sweep.

    Args:
        sweep: The sweep, its members read from disk.
        runner: Runs its members.
        watcher: Is told.
    """

    def __init__(self, sweep: Sweep, runner: Runner, watcher: Watcher) -> None:
        self.sweep, self.runner, self.watcher = sweep, runner, watcher
        self._given_up: set[str] = set()
        self._told_to_end: set[str] = set()
        self._judged_at: dict[str, int] = {}
        self._unread_since: dict[str, float] = {}
        self._stop = Stop()
        self._report_at = time.monotonic() + REPORT_S

    def run(self) -> None:
        """Drives it to its end.

        Raises:
            Interrupted, Preempted: Told to stop; the same command goes on.
            UserError: What has the jobs has been silent for too long.
        """
        with stop_signals() as self._stop:
            try:
                self._loop()
            except KeyboardInterrupt:
                if not self._stop.came:
                    raise
            finally:
                if self._stop.came and not self.runner.queues:
                    self._end_all()
                self.watcher.report(self.sweep)
        if self._stop.came:
            raise (Interrupted if self._stop.number == signal.SIGINT else Preempted)(self._standing())

    def _loop(self) -> None:
        self._adopt()
        while not self._stop.came and self._fill():
            began = time.monotonic()
            self._watch()
            self._stop.wait(max(self.runner.poll_s, time.monotonic() - began))  # at most half of the time goes into questions

    def _adopt(self) -> None:
        """Finds the jobs that earlier commands left; one whose member was given up is told so, perhaps again."""
        begun = [member for member in self.sweep.members if member.begun and member.state in (MemberState.WAITING, MemberState.PRUNED)]
        with self._stop.raising():
            jobs = self.runner.adopt(begun)
        for member, job in zip(begun, jobs, strict=True):
            if job is not None:
                self._given_up |= {member.label} if member.state is MemberState.PRUNED else set()
                member.job, member.state, member.starts = job, MemberState.RUNNING, 1

    def _fill(self) -> bool:
        """Starts what may be started; false once there is nothing more to wait for."""
        batch = self._batch()
        ready = [member for member in batch if self._prepare(member)]
        for submission in self.runner.start(ready):
            for member, started in submission:
                self._begin(member, started)
            if self._stop.came:
                break
        return bool(batch) or any(self._open())

    def _batch(self) -> list[Member]:
        """The members to start now: those that wait, then new ones."""
        waiting = [member for member in self.sweep.members if member.state is MemberState.WAITING]
        running, limit = sum(1 for _ in self._open()), self.runner.parallel
        if self.runner.throttles and not running and not self.sweep.sweeper.looks_at_results:
            return waiting
        room = max(0, limit - running) if limit is not None else self.sweep.size
        batch = waiting[:room]
        while len(batch) < room and (member := self.sweep.propose()):
            if member.state is MemberState.FAILED:
                self.watcher.ended(self.sweep, member)
            else:
                batch.append(member)
        return batch

    def _prepare(self, member: Member) -> bool:
        try:
            with self._stop.raising():
                self.runner.prepare(member)
        except CptError as error:
            self._begin(member, error)
            return False
        return True

    def _begin(self, member: Member, started: Started) -> None:
        member.starts += 1
        if isinstance(started, JobRef):
            member.job, member.state = started, MemberState.QUEUED
            return
        if started is None:
            member.state = MemberState.COMPLETED
            self._refresh(member)
        else:
            member.fail(started)
        self.watcher.ended(self.sweep, member)

    def _open(self) -> Iterator[Member]:
        return (member for member in self.sweep.members if member.state in OPEN)

    def _watch(self) -> None:
        news = {member.label for member, status in self._asked(self._open()) if not self._stop.came and self._look(member, status)}
        if news and self.sweep.sweeper.looks_at_results:
            self._judge(news)
        self.watcher.looked(self.sweep)
        if (began := time.monotonic()) > self._report_at:
            with contextlib.suppress(StorageError):  # the next one, or the last, may be written
                self.watcher.report(self.sweep)
            self._report_at = time.monotonic() + max(REPORT_S, (time.monotonic() - began) / REPORTS_SHARE)

    def _asked(self, members: Iterable[Member]) -> list[tuple[Member, JobStatus]]:
        """How the jobs of members stand, found out together."""
        jobs = [(member, member.job) for member in members if member.job is not None]
        with self._stop.raising():
            statuses = self.runner.statuses([job for _, job in jobs])
        return [(member, status) for (member, _), status in zip(jobs, statuses, strict=True)]

    def _look(self, member: Member, status: JobStatus) -> bool:
        """Whether a member that goes on has something new to say."""
        if status.state.ended:
            self._end(member, status)
            return False
        member.state = _STATES[status.state]
        if member.label in self._given_up:
            self._tell_to_end(member)
        return self._refresh(member)

    def _refresh(self, member: Member) -> bool:
        try:
            return member.record.refresh()
        except StorageError:  # it is read in the next round, or at the end
            return False

    def _judge(self, news: Collection[str]) -> None:
        """Gives up members that the sweeper finds not worth their end."""
        trials = self.sweep.trials()
        for member, trial in zip(self.sweep.members, trials, strict=True):
            if member.label in news and member.label not in self._given_up and self._is_given_up(member, trial, trials):
                self.sweep.prune(member)
                self._given_up.add(member.label)
                self._tell_to_end(member)

    def _is_given_up(self, member: Member, trial: Trial, trials: Sequence[Trial]) -> bool:
        newest = max(trial.reports, default=None)
        if newest is None or newest == self._judged_at.get(member.label):  # a sweeper judges a report once
            return False
        self._judged_at[member.label] = newest
        return self.sweep.sweeper.should_prune(trial, trials)

    def _tell_to_end(self, member: Member) -> None:
        """Has a member that was given up end: now, or, where nobody hears it, in a later round."""
        assert member.job is not None
        if member.job.id in self._told_to_end:
            return
        try:
            self.runner.stop(member.job)
        except UserError as error:
            say(f"warning: {member.label} is not worth its end, and cannot be stopped yet: {error}")
        else:
            self._told_to_end.add(member.job.id)

    def _end(self, member: Member, status: JobStatus) -> None:
        """Notes what became of a member whose job has ended; what cannot be read now is tried again in the next rounds."""
        since = self._unread_since.setdefault(member.label, time.monotonic())
        try:
            self.runner.collect(member)
            member.read()
        except UserError as error:
            if time.monotonic() - since < PATIENCE_S:
                return
            member.fail(error)
        else:
            self._settle(member, status)
        del self._unread_since[member.label]
        self.watcher.ended(self.sweep, member)

    def _settle(self, member: Member, status: JobStatus) -> None:
        """Decides what a member is now: done, pruned, failed, or to begin again."""
        job, member.job = member.job, None
        assert job is not None
        code = EXIT_OURS if status.exit_code in (None, EXIT_DONE) else status.exit_code
        starts_again = status.state is not JobState.CANCELLED and code not in (EXIT_USER, EXIT_STUCK) and member.starts < self.runner.starts
        if member.state is MemberState.COMPLETED:
            return
        if member.label in self._given_up:
            member.state = MemberState.PRUNED
        elif starts_again or (self._stop.came and not self.runner.queues):
            member.state = MemberState.WAITING
        else:
            member.state, member.exit_code = MemberState.FAILED, code
            member.error = tuple(self.runner.messages(job)) or (status.reason or f"ended with exit code {code}",)

    def _end_all(self) -> None:
        """Lets members that die with this command commit first; a second signal waits no longer."""
        asked = [member for member in self._open() if member.job]
        for member in asked:
            assert member.job is not None
            self.runner.stop(member.job)
        while (still := [(member, member.job) for member in asked if member.job]) and not self._stop.is_urgent:
            for (member, _), status in zip(still, self.runner.statuses([job for _, job in still]), strict=True):
                if status.state.ended:
                    self._end(member, status)
            time.sleep(min(self.runner.poll_s, 0.2))

    def _standing(self) -> str:
        done = sum(member.state in (MemberState.COMPLETED, MemberState.PRUNED) for member in self.sweep.members)
        still = len(list(self._open()))
        going_on = f"; {still} go on where they are" if still and self.runner.queues else ""
        return f"{done} of {self.sweep.size} members done{going_on}"
