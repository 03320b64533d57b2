"""What a launcher must offer: jobs on other machines, rendered, submitted, watched and cancelled."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import ClassVar

from pydantic import BaseModel

from cpt.recipe.frozen import Frozen


class LauncherOptions(Frozen):
    """What every launcher's options begin with."""

    render_to: str | None = None
    """Folder for the files that `--dry-run` writes; null: the run's `job/`."""


@dataclass(frozen=True)
class Task:
    """Work for a launcher: one argv, started once on each of `nodes` nodes. It starts the processes of its node itself.

    What the argv finds in its environment, beside `env`, where there are several nodes: `NODE_RANK` (from 0), `MASTER_ADDR` (the host of
    node 0, as the others reach it) and `MASTER_PORT` (the same for all: the agents meet there, or on one of the 15 ports after it, and have
    torch's ranks rendezvous through the c10d store at a free port of that host); in an array: `CPT_MEMBER` (from 0). Files that
    can be submitted by hand also set `CPT_JOB_LAUNCHER` (the launcher's name), `CPT_JOB_ID` and `CPT_JOB_FOLDER`: nobody else notes it.

    The argv ends with an exit code of `cpt.errors`: 75 asks to be requeued, 93 must not be; the same argv again goes on where it stopped.
    SIGTERM and SIGUSR1 ask it to commit and end.

    Args:
        name: For the queue: lowercase letters, digits and dashes.
        argv: What each node runs, this machine's Python interpreter first.
        nodes: Nodes of one member.
        processes: Processes that the argv starts on each node.
        gpus_per_node: GPUs that these need on each node; 0 for none.
        folder: Folder for scripts and logs, on a file system that all nodes share.
        members: Independent members of an array, each on `nodes` nodes; 1 for a single job.
        parallel: Members that may run at once; None: all.
        env: Environment variables to add; no secrets, they may be written to a script.
        after: Ids of jobs that must have ended well first.
        recipe: The run's recipe as plain JSON; None where the task is no run. For launchers whose engine is not ours.
    """

    name: str
    argv: tuple[str, ...]
    nodes: int
    processes: int
    folder: Path
    gpus_per_node: int = 0
    members: int = 1
    parallel: int | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    after: tuple[str, ...] = ()
    recipe: Mapping[str, object] | None = None


class JobState(StrEnum):
    """Where a job stands."""

    QUEUED = "queued"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    PREEMPTED = "preempted"
    """Stopped before its end, committed, and not queued again."""
    UNKNOWN = "unknown"
    """The launcher has forgotten it."""

    @property
    def ended(self) -> bool:
        """Whether it will change no more."""
        return self not in (JobState.QUEUED, JobState.RUNNING)


@dataclass(frozen=True)
class JobStatus:
    """What a launcher knows of a job.

    Args:
        state: Where it stands.
        reason: In the launcher's own words, for a person: why it waits, where it runs, how it ended. May be empty.
        exit_code: Of its argv, once it has ended and where that is known.
    """

    state: JobState
    reason: str = ""
    exit_code: int | None = None


@dataclass(frozen=True)
class JobRef:
    """A submitted job, as a run's manifest keeps it.

    Args:
        id: The launcher's own id.
        name: The task's name.
        folder: The task's folder.
    """

    id: str
    name: str
    folder: str


class Launcher(ABC):
    """Takes tasks to other machines. Any process may ask for any job by its `JobRef`: a launcher keeps nothing in memory.

    Args:
        options: The recipe's `launcher.options`, validated by `Options`.
    """

    Options: type[BaseModel] = LauncherOptions
    takes_recipe: ClassVar[bool] = False
    """Whether another engine trains: the task then carries the recipe alone, and no data is prepared here."""

    def __init__(self, options: BaseModel) -> None:
        self.options = options

    @classmethod
    def is_offered_here(cls) -> bool:
        """Whether this machine can reach what the launcher submits to; found in milliseconds. `launcher=auto` asks."""
        return False

    def check(self, task: Task) -> None:  # noqa: B027  a launcher may have nothing to check
        """Looks before a submission whether `task` can run.

        Raises:
            ResourceError: A program, credential, queue or resource is missing; every fault found.
            RecipeError: The recipe asks for what this launcher's engine cannot do.
        """

    @abstractmethod
    def render(self, task: Task) -> Mapping[str, str]:
        """The files that a submission of `task` writes, text by name: a pure function, wherever it is called.

        Raises:
            ResourceError, RecipeError: What could not run wherever it is submitted, so that a dry run says it too.
        """

    @abstractmethod
    def submit(self, task: Task) -> tuple[str, ...]:
        """Writes the files into the task's folder, submits them, and returns the job's id: one for each member.

        Raises:
            ResourceError: It was refused, in the words of what refused it.
        """

    @abstractmethod
    def status(self, job: JobRef) -> JobStatus:
        """Where the job stands now.

        Raises:
            ResourceError: What has the job does not answer; asked again later, it may.
        """

    def statuses(self, jobs: Sequence[JobRef]) -> list[JobStatus]:
        """Where each of `jobs` stands now, in their order; a launcher that can ask for all at once does.

        Raises:
            ResourceError: See `status`.
        """
        return [self.status(job) for job in jobs]

    @abstractmethod
    def cancel(self, job: JobRef) -> None:
        """Asks the job to commit and end, and takes it from the queue; nothing where it has ended."""

    @abstractmethod
    def logs(self, job: JobRef) -> Iterator[tuple[str, str]]:
        """What the job has written so far: the process (`rank 0`) and the line, each process's lines in order."""

    def results(self, job: JobRef) -> Mapping[str, object]:  # noqa: ARG002  ours writes the manifest itself
        """What a completed job adds to the run's manifest, where another engine trained."""
        return {}
