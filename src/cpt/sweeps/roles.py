"""Whom a sweep's driver works with: who runs members, and who is told."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

from cpt.contracts import JobRef, JobStatus
from cpt.errors import CptError
from cpt.sweeps.members import Member
from cpt.sweeps.sweep import Sweep

Started = JobRef | CptError | None
"""What came of starting a member: its job, what was wrong, or nothing, since it is finished already."""


class Runner(Protocol):
    """Who runs members.

    Attributes:
        queues: Whether members go on where they are, or wait there, when this command ends.
        throttles: Whether it may be handed all members, and keeps to `parallel` itself.
        parallel: Members that run at once; None: all.
        poll_s: Seconds between two looks, at least.
        starts: How often one command may start a member: what was killed or preempted begins again where it stopped.
    """

    queues: bool
    throttles: bool
    parallel: int | None
    poll_s: float
    starts: int

    def adopt(self, members: Sequence[Member]) -> Sequence[JobRef | None]:
        """The job of an earlier command that still has a member, for each."""

    def prepare(self, member: Member) -> None:
        """What a member needs before it can be started. May take long, may be broken off anywhere, and starts nothing.

        Raises:
            CptError: What is wrong with the member.
        """

    def start(self, members: Sequence[Member]) -> Iterator[Sequence[tuple[Member, Started]]]:
        """Starts prepared members where they stopped: those of one submission at a time."""

    def statuses(self, jobs: Sequence[JobRef]) -> Sequence[JobStatus]:
        """How jobs stand. May be broken off anywhere."""

    def stop(self, job: JobRef) -> None:
        """Asks a job to commit and end.

        Raises:
            UserError: It could not be asked.
        """

    def collect(self, member: Member) -> None:
        """Enters in the run of a member whose job has ended what that job left elsewhere.

        Raises:
            UserError: It cannot be had now.
        """

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
