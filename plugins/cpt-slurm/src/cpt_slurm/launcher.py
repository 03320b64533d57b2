"""The launcher `slurm`: jobs on a Slurm cluster, from a machine that has its programs."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from cpt.contracts import JobRef, JobState, JobStatus, Launcher, Task
from cpt.errors import EXIT_DONE, EXIT_INTERRUPTED, EXIT_PREEMPTED, Fault, ResourceError
from cpt_slurm import partitions, programs, script
from cpt_slurm.options import SlurmOptions
from cpt_slurm.site import VARIABLE, site_file

_STOPPED = (EXIT_PREEMPTED, EXIT_INTERRUPTED)
_ID = re.compile(r"\d+(_\d+)?")


class SlurmLauncher(Launcher):
    """Submits with sbatch; srun starts the task's argv once on each node.

    A job's id is Slurm's, `123`, of an array's member `123_4`; of a chain all of them, `123,124`. What it wrote, how it ended and whether
    it was cancelled stand in the task's folder, because Slurm forgets jobs within minutes.
    """

    Options = SlurmOptions
    options: SlurmOptions

    @classmethod
    def is_offered_here(cls) -> bool:
        """Whether sbatch is on PATH."""
        return shutil.which("sbatch") is not None

    def check(self, task: Task) -> None:
        """Looks for Slurm's programs, the partition, its limits and what the site and container need; then lets sbatch judge the rest.

        Raises:
            ResourceError: Every fault found.
        """
        found = [*programs.missing_programs(), *self._own_faults(task)]
        if not programs.missing_programs():
            found += partitions.faults(task, self.options, partitions.partitions())
        if found:
            raise ResourceError.of(found)
        programs.ask([*script.sbatch_argv(task, self.options), "--test-only"], "#!/bin/sh\n")

    def render(self, task: Task) -> Mapping[str, str]:
        """`slurm.sh`, the batch script, and `submit.sh`, the command that submits it."""
        return script.files(task, self.options, site_file())

    def submit(self, task: Task) -> tuple[str, ...]:
        """Writes both scripts and submits the first, as often as the chain is long.

        Raises:
            ResourceError: sbatch refused, in its own words; nothing stays in the queue then.
        """
        (task.folder / "logs").mkdir(parents=True, exist_ok=True)
        for name, text in self.render(task).items():
            (task.folder / name).write_text(text)
        chain: list[str] = []
        try:
            for _ in range(self.options.chain):
                chain.append(self._submit_one(task, chain[-1:]))
        except ResourceError:
            for job in chain:
                programs.cancel(job)
            raise
        if task.members == 1:
            return (",".join(chain),)
        return tuple(",".join(f"{job}_{member}" for job in chain) for member in range(task.members))

    def status(self, job: JobRef) -> JobStatus:
        """What the job's files and the controller say; the accounting database, if there is one, where these know nothing.

        Raises:
            ResourceError: The controller does not answer.
        """
        return self.statuses([job])[0]

    def statuses(self, jobs: Sequence[JobRef]) -> list[JobStatus]:
        """The same of all, in one question to the controller."""
        chains = [_links(job) for job in jobs]
        queue = programs.in_queue(link.id for chain in chains for link in chain)
        return [_standing(chain, queue) for chain in chains]

    def cancel(self, job: JobRef) -> None:
        """Takes waiting jobs from the queue and tells a running one to commit and end, for as long as that takes; asked again, kills it."""
        for link in reversed(_links(job)):
            link.cancel()

    def logs(self, job: JobRef) -> Iterator[tuple[str, str]]:
        """The lines of the batch script and srun (`slurm`), of each node's agent (`node 0`) and of each rank (`rank 0`)."""
        for link in _links(job):
            yield from link.logs()

    def _submit_one(self, task: Task, before: list[str]) -> str:
        """Submits the script, to run after the job `before` in a chain, and returns its id."""
        argv = script.sbatch_argv(task, self.options)
        if before:
            *first, last = script.next_in_chain(task)
            argv += [*first, last + before[0]]
        else:
            argv += script.dependency(task, self.options)
        answer = programs.ask([*argv, str(task.folder / script.SCRIPT), *before])
        return answer.strip().partition(";")[0]

    def _own_faults(self, task: Task) -> Iterator[Fault]:
        site = site_file()
        if site is not None and not site.is_file():
            yield Fault(VARIABLE, str(site), "there is no such file", "Write it, or unset the variable")
        for job in task.after:
            if not _ID.fullmatch(job):
                yield Fault("after", job, "is no id of a single Slurm job", "Give one such as 123 or 123_4")
        container = self.options.container
        if container and not any(_shows(mount, task.folder) for mount in container.mounts):
            cure = f"Add a folder that holds {task.folder}"
            yield Fault("launcher.options.container.mounts", ", ".join(container.mounts), "do not show the run in the container", cure)


@dataclass(frozen=True)
class _Link:
    """One job of Slurm's: a single one, an array's member, or one of a chain."""

    id: str
    folder: Path

    @property
    def array(self) -> str:
        """The array that it is a member of; else itself."""
        return self.id.partition("_")[0]

    def status(self, found: programs.Found | None, array: programs.Found | None) -> JobStatus:
        """By what the controller has of it, or, where that is nothing, of its array: members that never ran are one record there."""
        if found and not found.state.ended:
            return JobStatus(found.state, found.detail)
        code = self._exit_code()
        if code is None:
            found = found or array
        found = found or (programs.in_accounts(self.id) if code is None else None)
        if code is None and found is not None:
            code = found.exit_code
        state = self._ended(code, found.state if found else JobState.UNKNOWN)
        return JobStatus(state, _how_it_ended(found, state, code), code)

    def cancel(self) -> None:
        found = programs.in_queue([self.id]).get(self.id)
        if found is None or found.state.ended:
            return
        asked_before = self._cancelled.exists()
        self._cancelled.touch()  # before the job can end of it
        softly = found.word == "RUNNING" and not asked_before
        try:
            programs.cancel(self.id, *(["--signal=TERM"] if softly else []))
        except ResourceError:
            if not asked_before:
                self._cancelled.unlink(missing_ok=True)
            raise

    def logs(self) -> Iterator[tuple[str, str]]:
        logs = self.folder / "logs"
        parts = sorted((logs / self.id).glob("*-*.log"), key=lambda file: (file.stem.rpartition("-")[0], int(file.stem.rpartition("-")[2])))
        for name, file in [("slurm", logs / f"{self.id}.log"), *((file.stem.replace("-", " "), file) for file in parts)]:
            if file.is_file():
                with file.open(errors="replace") as lines:
                    yield from ((name, line.rstrip("\n")) for line in lines)

    def _ended(self, code: int | None, told: JobState) -> JobState:
        """How it ended, by its exit code, by who asked it to, and by what Slurm tells; done is done, whatever was asked."""
        if code == EXIT_DONE:
            return JobState.COMPLETED
        if self._cancelled.exists() or told is JobState.CANCELLED:
            return JobState.CANCELLED
        if code is None:
            return told
        return JobState.PREEMPTED if code in _STOPPED else JobState.FAILED

    def _exit_code(self) -> int | None:
        file = self.folder / f"exit-{self.id}"
        text = file.read_text().strip() if file.is_file() else ""
        return int(text) if text.isdecimal() else None

    @property
    def _cancelled(self) -> Path:
        return self.folder / f"cancel-{self.id}"


def _links(job: JobRef) -> list[_Link]:
    """The jobs of Slurm's behind an id; none for an id that is none of ours."""
    return [_Link(id, Path(job.folder)) for id in job.id.split(",") if _ID.fullmatch(id)]


def _standing(chain: Sequence[_Link], queue: Mapping[str, programs.Found]) -> JobStatus:
    """How a chain stands: as the first of its jobs that is not at its end, or that needs no other; else as the last that told."""
    statuses = []
    for link in chain:
        statuses.append(link.status(queue.get(link.id), queue.get(link.array)))
        if not statuses[-1].state.ended or statuses[-1].exit_code in script.FINAL:
            return statuses[-1]
    told = [status for status in statuses if status.exit_code is not None]
    return (told or statuses or [JobStatus(JobState.UNKNOWN)])[-1]


def _how_it_ended(found: programs.Found | None, state: JobState, code: int | None) -> str:
    """Slurm's word where it tells more than ours does (`timeout`, `node fail`), and the exit code."""
    word = found.word.lower().replace("_", " ") if found else ""
    return ", ".join([*([word] if word not in ("", "failed", state) else []), *([] if code is None else [f"exit code {code}"])])


def _shows(mount: str, folder: Path) -> bool:
    """Whether `folder` is seen in the container under its own name."""
    here, _, inside = mount.partition(":")
    return PurePosixPath(folder).is_relative_to(here) and inside in ("", here)
