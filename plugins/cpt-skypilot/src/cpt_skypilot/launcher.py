"""The launcher `skypilot`."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

from pydantic import BaseModel

from cpt.contracts import JobRef, JobState, JobStatus, Launcher, Task
from cpt.errors import Fault, ResourceError
from cpt.recipe.document import write_document
from cpt_skypilot import sky
from cpt_skypilot.options import SkypilotOptions
from cpt_skypilot.sky_task import job_name, sky_task

STATES = {
    "PENDING": JobState.QUEUED,
    "SUBMITTED": JobState.QUEUED,
    "STARTING": JobState.QUEUED,
    "RUNNING": JobState.RUNNING,
    "WINDING_DOWN": JobState.RUNNING,
    "RECOVERING": JobState.RUNNING,
    "CANCELLING": JobState.RUNNING,
    "SUCCEEDED": JobState.COMPLETED,
    "CANCELLED": JobState.CANCELLED,
    "FAILED": JobState.FAILED,
    "FAILED_SETUP": JobState.FAILED,
    "FAILED_PRECHECKS": JobState.FAILED,
    "FAILED_NO_RESOURCE": JobState.FAILED,
    "FAILED_CONTROLLER": JobState.FAILED,
}
"""SkyPilot's states of a managed job."""
_PREFIX = re.compile(r"\((?:[^(),]*, )?(?:rank=(?P<rank>[0-9]+), )?pid=[0-9]+(?:, [^()]*)?\) ?")
"""What SkyPilot puts before a line of a job's node: `(head, rank=0, pid=12) `, of a single one `(NAME, pid=12) `."""


class SkypilotLauncher(Launcher):
    """A task is a managed job of SkyPilot, each member of an array one of its own; its id is SkyPilot's.

    It rents machines, so `launcher=auto` never takes it: it must be named.
    """

    Options: type[BaseModel] = SkypilotOptions

    def __init__(self, options: BaseModel) -> None:
        super().__init__(options)
        assert isinstance(options, SkypilotOptions)
        self._wanted = options

    def check(self, task: Task) -> None:
        """Looks for the program, and for what a rented machine could not do; prices and quotas show at submission.

        Raises:
            ResourceError: Every fault found.
        """
        faults = list(self._unfit(task))
        faults += [
            Fault("launcher.options.secrets", name, "this machine has no such environment variable", f"export {name}=...")
            for name in self._wanted.secrets
            if name not in os.environ
        ]
        if shutil.which(sky.PROGRAM) is None:
            faults.append(sky.missing())
        if faults:
            raise ResourceError(*faults)

    def render(self, task: Task) -> Mapping[str, str]:
        """A SkyPilot task file a member.

        Raises:
            ResourceError: What no rented machine could run as it is.
        """
        if faults := list(self._unfit(task)):
            raise ResourceError(*faults)
        names = [f"task-{member}.yaml" for member in range(task.members)] if task.members > 1 else ["task.yaml"]
        return {name: write_document(sky_task(task, self._wanted, member)) for member, name in enumerate(names)}

    def submit(self, task: Task) -> tuple[str, ...]:
        """Launches every member's job, or none."""
        files = self.render(task)
        task.folder.mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            (task.folder / name).write_text(text)
        ids: list[str] = []
        try:
            for name in files:
                ids.append(self._launch(str(task.folder / name), job_name(task)))
        except ResourceError:
            for id_ in ids:
                sky.run("jobs", "cancel", "--yes", "--", id_)
            raise
        return tuple(ids)

    def status(self, job: JobRef) -> JobStatus:
        """Where the job stands, and what SkyPilot says about it."""
        return self.statuses([job])[0]

    def statuses(self, jobs: Sequence[JobRef]) -> list[JobStatus]:
        """The same of all, asked at once."""
        found = {str(one["job_id"]): one for one in sky.jobs()} if jobs else {}
        return [_status(job, found.get(job.id)) for job in jobs]

    def cancel(self, job: JobRef) -> None:
        """Cancels the job and gives its machines back."""
        if not self.status(job).state.ended:
            sky.run("jobs", "cancel", "--yes", "--", job.id)

    def logs(self, job: JobRef) -> Iterator[tuple[str, str]]:
        """What the job's nodes wrote, all processes of a node together, as `node 0`; setting up and SkyPilot's own words as `sky`."""
        if self.status(job).state in (JobState.UNKNOWN, JobState.QUEUED):
            return
        for line in sky.run("jobs", "logs", "--no-follow", "--tail=0", "--", job.id).splitlines():
            match = _PREFIX.match(line)
            yield (f"node {match['rank'] or 0}", line[match.end() :]) if match else ("sky", line)

    def _launch(self, file: str, name: str) -> str:
        secrets = [f"--secret={name}" for name in self._wanted.secrets]
        sky.run("jobs", "launch", "--yes", "--detach-run", *secrets, "--", file)
        return str(max(one["job_id"] for one in sky.jobs() if one["job_name"] == name))

    def _unfit(self, task: Task) -> Iterator[Fault]:
        try:
            sky_task(task, self._wanted, 0)
        except ResourceError as error:
            yield from error.faults
        if task.after:
            yield Fault("launcher", "skypilot", "a job cannot wait for others to end", "submit it when they have")
        if task.parallel is not None and task.parallel < task.members:
            yield Fault("sweeper.parallel", str(task.parallel), "SkyPilot starts all members at once", "null")
        if self._wanted.accelerator and not task.gpus_per_node:
            rule = f"launcher.options.accelerator={self._wanted.accelerator} is named, but the run asks for no GPUs"
            yield Fault("cluster.gpus_per_node", "0", rule, "cluster.gpus_per_node=8, or without an accelerator")
        if not self._wanted.image and not self._wanted.packages:
            cure = "launcher.options.image=docker:NAME, or launcher.options.packages=[cpt-train] where the machines' index has it"
            yield Fault("launcher.options.image", "null", "the rented machines have no cpt: give an image that has, or packages", cure)
        yield from self._unseen(task)

    def _unseen(self, task: Task) -> Iterator[Fault]:
        """Paths that a rented machine would look for in vain."""
        rule = "rented machines need this path, and no volume holds it"
        cure = "run.output and data.store on a volume of launcher.options.volumes, mounted here at the same path"
        if task.nodes == 1:
            cure += ", or on object storage, such as s3://BUCKET/runs"
        mounts = [PurePosixPath(path) for path in self._wanted.volumes]
        for word in task.argv[1:]:
            if word.startswith("/") and not any(PurePosixPath(word).is_relative_to(mount) for mount in mounts):
                yield Fault("launcher.options.volumes", word, rule, cure)


def _status(job: JobRef, found: Mapping[str, Any] | None) -> JobStatus:
    """What SkyPilot's record of a job says."""
    if found is None:
        return JobStatus(JobState.UNKNOWN, f"SkyPilot knows no job {job.id}")
    state = STATES.get(str(found["status"]), JobState.UNKNOWN)
    reason = found.get("failure_reason") or found.get("details") or str(found["status"]).lower()
    return JobStatus(state, " ".join(reason.split()), 0 if state is JobState.COMPLETED else None)
