"""Members through a launcher: on this machine each by itself, in a slot of its own; elsewhere together, as an array that queues."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

from cpt import jobs, storage
from cpt.contracts import JobRef, JobStatus
from cpt.cores import cores
from cpt.engines import hand_over_recipe, recipe_task
from cpt.errors import CptError, UserError
from cpt.handover import (
    Delivery,
    check_order,
    hand_over,
    hand_over_members,
    members_task,
    rehearse_members,
    render,
    write_order,
)
from cpt.launch.machine import gpus
from cpt.launch.watch import Watched
from cpt.order import Submitted
from cpt.recipe.schema import Recipe
from cpt.resources import Chosen, gpus_per_node, processes_per_node
from cpt.rundir import RunDirectory
from cpt.sweeps.members import AT_ONCE, Member
from cpt.sweeps.preparing import Preparer
from cpt.sweeps.roles import Runner, Started

LEAVING_S = 20.0
"""Seconds that the processes of a command that was killed may take to let go of a run."""
SHOWN_LINES = 3


def make_runner(chosen: Chosen, place: RunDirectory, recipes: Sequence[Recipe], parallel: int | None) -> LauncherRunner:
    """Who runs the members of a sweep through a launcher.

    Args:
        chosen: The launcher.
        place: Of the sweep.
        recipes: Of the members that are known.
        parallel: Members at once, where that was asked for.
    """
    kind = LocalRunner if chosen.is_local else RecipeRunner if chosen.launcher.takes_recipe else QueueRunner
    return kind(chosen, place, recipes, parallel)


class LauncherRunner(Runner):
    """What all ways have in common; see `make_runner`."""

    throttles = False

    def __init__(self, chosen: Chosen, place: RunDirectory, recipes: Sequence[Recipe], parallel: int | None) -> None:
        self._chosen, self._place, self._preparer, self._watched = chosen, place, Preparer(), Watched(chosen.launcher)
        self._gpus, self._processes = max(map(gpus_per_node, recipes)), max(map(processes_per_node, recipes))
        self._ready: dict[str, Delivery] = {}
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
            part = f"array-{number}" if len(groups) > 1 else ""
            written.append(rehearse_members(group, self._chosen, self._new_place(), self.parallel, part))
        return written

    def prepare(self, member: Member) -> None:
        """Finds its base, its data and its plan."""
        self._ready[member.label] = self._preparer.delivery(member)

    def statuses(self, jobs: Sequence[JobRef]) -> list[JobStatus]:
        """How they stand; while the launcher does not answer, how they last stood."""
        return self._watched.statuses(jobs) if jobs else []

    def stop(self, job: JobRef) -> None:
        """Asks it to commit and end."""
        self._chosen.launcher.cancel(job)

    def collect(self, member: Member) -> None:
        """Nothing: our own engine writes to the run itself."""

    def messages(self, job: JobRef) -> list[str]:
        """The last lines that its log calls errors, else the very last line."""
        try:
            lines = [line for _, line in self._chosen.launcher.logs(job) if line.strip()]
        except UserError as error:
            return str(error).splitlines()
        said = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
        return said[-SHOWN_LINES:] or lines[-1:]

    def _new_place(self) -> RunDirectory:
        """An array's, within the sweep's; local files of it are on a file system that all nodes share, or no node needs them."""
        return RunDirectory(self._place.uri(), f"jobs/{datetime.now(UTC):%Y%m%d-%H%M%S-%f}")


class LocalRunner(LauncherRunner):
    """Members on this machine: as many at once as its GPUs, or cores, allow; they die with this command."""

    queues = False
    starts = 3

    def __init__(self, chosen: Chosen, place: RunDirectory, recipes: Sequence[Recipe], parallel: int | None) -> None:
        super().__init__(chosen, place, recipes, parallel)
        room = len(gpus()) // self._gpus if self._gpus else cores() // self._processes
        self.parallel: int = parallel or max(1, room)
        self.poll_s = 2.0 if storage.is_url(recipes[0].run.output) else 0.2  # a look at a URL is a request a member
        self._threads = max(1, cores() // (self.parallel * self._processes))
        self._slots: dict[int, JobRef] = {}

    def adopt(self, members: Sequence[Member]) -> list[JobRef | None]:
        """None: what an earlier command started died with it."""
        return [None] * len(members)

    def start(self, members: Sequence[Member]) -> Iterator[list[tuple[Member, Started]]]:
        """Starts each."""
        for member in members:
            yield [(member, self._start(self._ready.pop(member.label)))]

    def _start(self, delivery: Delivery) -> Started:
        slot = next(slot for slot in itertools.count() if self._is_free(slot))
        jobs.remember(delivery.run)
        try:
            submitted = hand_over(delivery, self._chosen, self._env(slot), LEAVING_S)
        except CptError as error:
            return error
        if submitted is None:
            return None
        self._slots[slot] = submitted.ref
        return submitted.ref

    def _is_free(self, slot: int) -> bool:
        return slot not in self._slots or self._watched.status(self._slots[slot]).state.ended

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
    poll_s = 5.0
    starts = 2

    def __init__(self, chosen: Chosen, place: RunDirectory, recipes: Sequence[Recipe], parallel: int | None) -> None:
        super().__init__(chosen, place, recipes, parallel)
        self.throttles = len(set(map(_shape, recipes))) == 1  # an array keeps to `parallel`, but several know nothing of each other

    def adopt(self, members: Sequence[Member]) -> list[JobRef | None]:
        """The jobs that an earlier command submitted, as far as they still wait or run."""
        with ThreadPoolExecutor(AT_ONCE) as pool:
            found = pool.map(Submitted.read, [member.run for member in members])
        noted = [job.ref if job and job.id and job.launcher == self._chosen.name else None for job in found]
        asked = [job for job in noted if job]
        going_on = {job for job, status in zip(asked, self.statuses(asked), strict=True) if not status.state.ended}
        return [job if job in going_on else None for job in noted]

    def start(self, members: Sequence[Member]) -> Iterator[list[tuple[Member, Started]]]:
        """Submits them: an array for each shape, a single job where one is alone."""
        owners = {id(self._ready[member.label]): member for member in members}
        for group in _by_shape(self._ready.pop(member.label) for member in members):
            started = [self._submit_one(group[0])] if len(group) == 1 else self._submit(group)
            yield [(owners[id(delivery)], one) for delivery, one in zip(group, started, strict=True)]

    def _submit_one(self, delivery: Delivery) -> Started:
        jobs.remember(delivery.run)
        try:
            submitted = hand_over(delivery, self._chosen, wait_s=LEAVING_S)
        except CptError as error:
            return error
        return submitted.ref if submitted else None

    def _submit(self, group: Sequence[Delivery]) -> list[Started]:
        place = self._new_place()
        try:
            self._chosen.launcher.check(members_task(group, place, self.parallel))
        except CptError as error:  # before their runs say that they are queued
            return [error] * len(group)
        written = [self._write_order(delivery) for delivery in group]
        ready = [delivery for delivery, order in zip(group, written, strict=True) if order is True]
        submitted = iter(self._submit_array(ready, place) if ready else ())
        return [next(submitted) if order is True else order or None for order in written]

    def _write_order(self, delivery: Delivery) -> bool | CptError:
        try:
            return write_order(delivery, LEAVING_S)
        except CptError as error:
            return error

    def _submit_array(self, group: Sequence[Delivery], place: RunDirectory) -> Sequence[Started]:
        for delivery in group:
            jobs.remember(delivery.run)
        try:
            return [job.ref for job in hand_over_members(group, self._chosen, place, self.parallel)]
        except CptError as error:
            return [error] * len(group)


class RecipeRunner(QueueRunner):
    """Members that another engine trains, each a job of its own: what the engine leaves is entered in the run, losses are not among it."""

    starts = 1

    def __init__(self, chosen: Chosen, place: RunDirectory, recipes: Sequence[Recipe], parallel: int | None) -> None:
        super().__init__(chosen, place, recipes, parallel)
        self.throttles = False

    def rehearse(self, members: Sequence[Member]) -> list[str]:
        """See `LauncherRunner.rehearse`; each member's files in a folder named like it."""
        written = []
        for member in members:
            assert member.composed is not None
            task = recipe_task(member.composed.recipe, member.run)
            written.append(render(task, self._chosen, member.run.job_folder / "dry-run", part=member.label))
        return written

    def prepare(self, member: Member) -> None:
        """Nothing: the engine reads the data."""

    def start(self, members: Sequence[Member]) -> Iterator[list[tuple[Member, Started]]]:
        """Submits each."""
        for member in members:
            yield [(member, self._hand_over(member))]

    def collect(self, member: Member) -> None:
        """Enters in its run how the job ended, and what it left."""
        for _ in jobs.wait(member.run.uri()):
            pass

    def _hand_over(self, member: Member) -> Started:
        assert member.composed is not None
        try:
            run, job = hand_over_recipe(member.composed.recipe, member.composed.yaml, self._chosen, member.run)
        except CptError as error:
            return error
        jobs.remember(run)
        return job.ref


def _by_shape(deliveries: Iterable[Delivery]) -> list[list[Delivery]]:
    """Those that ask a launcher for the same, together."""
    groups: dict[tuple[int, ...], list[Delivery]] = {}
    for delivery in deliveries:
        groups.setdefault(_shape(delivery.submission.recipe), []).append(delivery)
    return list(groups.values())


def _shape(recipe: Recipe) -> tuple[int, ...]:
    """What a launcher is asked for."""
    return recipe.cluster.nodes, processes_per_node(recipe), gpus_per_node(recipe)
