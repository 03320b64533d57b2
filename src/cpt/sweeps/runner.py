"""Members through a launcher: on this machine each by itself, in a slot of its own; elsewhere together, as an array that queues."""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from cpt import jobs
from cpt.contracts import JobRef, JobStatus
from cpt.cores import cores
from cpt.errors import CptError
from cpt.handover import (
    Delivery,
    hand_over,
    hand_over_members,
    hand_over_recipe,
    members_task,
    recipe_task,
    check_order,
    render,
    write_order,
)
from cpt.launch.machine import gpus
from cpt.order import Submitted
from cpt.recipe.schema import Recipe
from cpt.resources import Chosen, gpus_per_node, processes_per_node
from cpt.sweeps.driver import Runner, Started
from cpt.sweeps.members import Member
from cpt.sweeps.preparing import Preparer

LEAVING_S = 20.0
"""Seconds that the processes of a command that was killed may take to let go of a run."""
ASK_S, ASK_A_JOB_S = 5.0, 0.1
"""Seconds between two questions to a queue about a job: at least, and for each job that it has."""
SHOWN_LINES = 3


def make_runner(chosen: Chosen, folder: Path, recipes: Sequence[Recipe], parallel: int | None) -> LauncherRunner:
    """Who runs the members of a sweep through a launcher.

    Args:
        chosen: The launcher.
        folder: For scripts and logs of arrays; on a file system that all nodes share.
        recipes: Of the members that are known.
        parallel: Members at once, where that was asked for.
    """
    kind = LocalRunner if chosen.is_local else RecipeRunner if chosen.launcher.takes_recipe else QueueRunner
    return kind(chosen, folder, recipes, parallel)


class LauncherRunner(Runner):
    """What all ways have in common; see `make_runner`."""

    def __init__(self, chosen: Chosen, folder: Path, recipes: Sequence[Recipe], parallel: int | None) -> None:
        self._chosen, self._folder, self._preparer = chosen, folder, Preparer()
        self._gpus, self._processes = max(map(gpus_per_node, recipes)), max(map(processes_per_node, recipes))
        self.parallel = parallel

    def rehearse(self, members: Sequence[Member]) -> list[str]:
        """Writes what would be submitted, starts nothing, and returns the folders that hold it.

        Raises:
            CptError: What is wrong with a member.
        """
        deliveries = [self._preparer.delivery(member) for member in members]
        for delivery in deliveries:
            check_order(delivery)
        groups, written = _by_shape(deliveries), []
        for number, group in enumerate(groups, 1):
            folder = self._new_folder()
            task = members_task(group, folder, self.parallel)
            written.append(render(task, self._chosen, folder, part=f"array-{number}" if len(groups) > 1 else ""))
        return written

    def status(self, job: JobRef) -> JobStatus:
        """How it stands."""
        return self._chosen.launcher.status(job)

    def stop(self, job: JobRef) -> None:
        """Asks it to commit and end."""
        self._chosen.launcher.cancel(job)

    def messages(self, job: JobRef) -> list[str]:
        """The last lines that its log calls errors, else the very last line."""
        lines = [line for _, line in self._chosen.launcher.logs(job) if line.strip()]
        said = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
        return said[-SHOWN_LINES:] or lines[-1:]

    def _new_folder(self) -> Path:
        return self._folder / f"{datetime.now(UTC):%Y%m%d-%H%M%S-%f}"


class LocalRunner(LauncherRunner):
    """Members on this machine: as many at once as its GPUs, or cores, allow; they die with this command."""

    queues = False
    poll_s = 0.2
    starts = 3

    def __init__(self, chosen: Chosen, folder: Path, recipes: Sequence[Recipe], parallel: int | None) -> None:
        super().__init__(chosen, folder, recipes, parallel)
        room = len(gpus()) // self._gpus if self._gpus else cores() // self._processes
        self.parallel: int = parallel or max(1, room)
        self._threads = max(1, cores() // (self.parallel * self._processes))
        self._slots: dict[int, JobRef] = {}

    def adopt(self, member: Member) -> JobRef | None:  # noqa: ARG002  what an earlier command started died with it
        """None."""
        return None

    def start(self, members: Sequence[Member]) -> list[Started]:
        """Starts each."""
        return [self._start(member) for member in members]

    def _start(self, member: Member) -> Started:
        slot = next(slot for slot in itertools.count() if slot not in self._slots or self.status(self._slots[slot]).state.ended)
        try:
            submitted = hand_over(self._preparer.delivery(member), self._chosen, self._env(slot), LEAVING_S)
        except CptError as error:
            return error
        if submitted is None:
            return None
        self._slots[slot] = submitted.ref
        return submitted.ref

    def _env(self, slot: int) -> dict[str, str]:
        """The slot's share of the machine."""
        threads = {} if "OMP_NUM_THREADS" in os.environ else {"OMP_NUM_THREADS": str(self._threads)}
        if not self._gpus:
            return threads
        named = os.environ.get("CUDA_VISIBLE_DEVICES")
        visible = named.split(",") if named else list(map(str, range(len(gpus()))))
        return {**threads, "CUDA_VISIBLE_DEVICES": ",".join(visible[slot * self._gpus : (slot + 1) * self._gpus])}


class QueueRunner(LauncherRunner):
    """Members on other machines: those that need the same are one array. They go on when this command ends, and are found again."""

    queues = True
    poll_s = 2.0
    starts = 2

    def __init__(self, chosen: Chosen, folder: Path, recipes: Sequence[Recipe], parallel: int | None) -> None:
        super().__init__(chosen, folder, recipes, parallel)
        self._known: dict[str, tuple[float, JobStatus]] = {}

    def adopt(self, member: Member) -> JobRef | None:
        """The job that an earlier command submitted, if it still waits or runs."""
        job = Submitted.read(member.run)
        if job is None or job.launcher != self._chosen.name or super().status(job.ref).state.ended:
            return None
        return job.ref

    def start(self, members: Sequence[Member]) -> list[Started]:
        """Submits them: an array for each shape, a single job where one is alone."""
        started: dict[str, Started] = {}
        ready: dict[str, Delivery] = {}
        for member in members:
            try:
                delivery = self._preparer.delivery(member)
                if write_order(delivery, LEAVING_S):
                    ready[member.label] = delivery
            except CptError as error:
                started[member.label] = error
        labels = {id(delivery): label for label, delivery in ready.items()}
        for group in _by_shape(ready.values()):
            started |= zip([labels[id(delivery)] for delivery in group], self._submit(group), strict=True)
        return [started.get(member.label) for member in members]

    def status(self, job: JobRef) -> JobStatus:
        """How it stands, or stood a little while ago."""
        known = self._known.get(job.id)
        if known is None or time.monotonic() - known[0] > max(ASK_S, ASK_A_JOB_S * len(self._known)):
            known = self._known[job.id] = (time.monotonic(), super().status(job))
        return known[1]

    def _submit(self, group: list[Delivery]) -> list[Started]:
        for delivery in group:
            jobs.remember(delivery.run)
        try:
            if len(group) == 1:
                submitted = hand_over(group[0], self._chosen)
                return [submitted.ref if submitted else None]
            return [job.ref for job in hand_over_members(group, self._chosen, self._new_folder(), self.parallel)]
        except CptError as error:
            return [error] * len(group)


class RecipeRunner(QueueRunner):
    """Members that another engine trains, each a job of its own: what the engine leaves is entered in the run, losses are not among it."""

    starts = 1

    def __init__(self, chosen: Chosen, folder: Path, recipes: Sequence[Recipe], parallel: int | None) -> None:
        super().__init__(chosen, folder, recipes, parallel)
        self._runs: dict[str, str] = {}

    def rehearse(self, members: Sequence[Member]) -> list[str]:
        """See `LauncherRunner.rehearse`; each member's files in a folder named like it."""
        written = []
        for member in members:
            assert member.composed is not None
            task = recipe_task(member.composed.recipe, member.run)
            written.append(render(task, self._chosen, member.run.job_folder, part=member.label))
        return written

    def adopt(self, member: Member) -> JobRef | None:
        """The job that an earlier command submitted, if it still waits or runs."""
        job = super().adopt(member)
        if job is not None:
            self._runs[job.id] = member.run.uri()
        return job

    def start(self, members: Sequence[Member]) -> list[Started]:
        """Submits each."""
        return [self._hand_over(member) for member in members]

    def status(self, job: JobRef) -> JobStatus:
        """How it stands; once it has ended, its run says so too."""
        status = super().status(job)
        if status.state.ended:
            for _ in jobs.wait(self._runs[job.id]):
                pass
        return status

    def _hand_over(self, member: Member) -> Started:
        assert member.composed is not None
        try:
            run, job = hand_over_recipe(member.composed.recipe, member.composed.yaml, self._chosen, member.run)
        except CptError as error:
            return error
        jobs.remember(run)
        self._runs[job.id] = member.run.uri()
        return job.ref


def _by_shape(deliveries: Iterable[Delivery]) -> list[list[Delivery]]:
    """Those that ask a launcher for the same, together."""
    groups: dict[tuple[int, ...], list[Delivery]] = {}
    for delivery in deliveries:
        recipe = delivery.submission.recipe
        shape = (recipe.cluster.nodes, processes_per_node(recipe), gpus_per_node(recipe))
        groups.setdefault(shape, []).append(delivery)
    return list(groups.values())
