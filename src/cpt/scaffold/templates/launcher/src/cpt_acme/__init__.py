"""Jobs on acme. As generated they are background processes of this machine: put your queue in the places that say so."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

from cpt.contracts import JobRef, JobState, JobStatus, Launcher, LauncherOptions, Task
from cpt.errors import EXIT_DONE, ResourceError

__all__ = ["AcmeLauncher", "AcmeOptions"]

SCRIPT = """#!/bin/sh
trap : TERM  # the command is told to end, and this script stays to note how it did
{exports}{command} > "$1.log" 2>&1
echo $? > "$1.code" && mv "$1.code" "$1.exit"
"""
SUBMIT = ("sh", "-c", 'sh "$0" "$1" > /dev/null 2>&1 & echo $$')  # your queue here
"""Starts a script in the background and prints its process group, as a queue's own program prints a job's id."""


class AcmeOptions(LauncherOptions):
    """The recipe's `launcher.options`."""

    queue: str | None = None
    """Queue to submit to; null: the default."""


class AcmeLauncher(Launcher):
    """A job a member of the task; its id is `<member>-<process>`. Nothing is kept in memory: the task's folder tells any process."""

    Options = AcmeOptions
    options: AcmeOptions

    @classmethod
    def is_offered_here(cls) -> bool:
        """Whether acme's own program is on the PATH."""
        return shutil.which("acme-submit") is not None  # your queue here

    def check(self, task: Task) -> None:
        """One node.

        Raises:
            ResourceError: The task needs more.
        """
        if task.nodes > 1:  # your queue here
            raise ResourceError("cluster.nodes", str(task.nodes), "acme runs jobs of one node", "cluster.nodes=1 is one")

    def render(self, task: Task) -> Mapping[str, str]:
        """The script. Words and values are a stranger's: they are quoted, each as a whole."""
        exports = "".join(f"export {name}={shlex.quote(value)}\n" for name, value in task.env.items())
        return {"job.sh": SCRIPT.format(exports=exports, command=shlex.join(task.argv))}

    def submit(self, task: Task) -> tuple[str, ...]:
        """Writes the script and starts it once a member."""
        task.folder.mkdir(parents=True, exist_ok=True)
        for name, text in self.render(task).items():
            (task.folder / name).write_text(text, encoding="utf-8")
        return tuple(f"{member}-{self._start(task, member)}" for member in range(task.members))

    def status(self, job: JobRef) -> JobStatus:
        """What the job's files say, and whether its processes live.

        Where your queue is a service that may be silent, say so: a ResourceError is asked again. One that can be asked about many jobs at
        once saves a question for each in `statuses`.
        """
        if not _file(job, "log").exists():  # your queue here
            return JobStatus(JobState.UNKNOWN)
        lives = _lives(job)  # asked first: what lives no more has written all that it will
        if not _file(job, "exit").exists():
            return JobStatus(JobState.RUNNING) if lives else JobStatus(JobState.FAILED, "its processes are no more")
        code = int(_file(job, "exit").read_text())
        if code and _file(job, "cancelled").exists():
            return JobStatus(JobState.CANCELLED, exit_code=code)
        return JobStatus(JobState.COMPLETED if code == EXIT_DONE else JobState.FAILED, f"exit code {code}", code)

    def cancel(self, job: JobRef) -> None:
        """Asks the job to commit and end."""
        if not self.status(job).state.ended:
            _file(job, "cancelled").touch()
            os.killpg(_group(job), signal.SIGTERM)  # your queue here

    def logs(self, job: JobRef) -> Iterator[tuple[str, str]]:
        """The job's output."""
        if _file(job, "log").exists():
            yield from (("output", line) for line in _file(job, "log").read_text(errors="replace").splitlines())

    def _start(self, task: Task, member: int) -> int:
        """The process, and process group, of a member."""
        place = task.folder / str(member)
        place.with_suffix(".exit").unlink(missing_ok=True)
        place.with_suffix(".log").touch()
        env = {**os.environ, "CPT_MEMBER": str(member)}
        argv = [*SUBMIT, str(task.folder / "job.sh"), str(place)]
        return int(subprocess.run(argv, env=env, stdout=subprocess.PIPE, start_new_session=True, check=True).stdout)


def _group(job: JobRef) -> int:
    return int(job.id.partition("-")[2])


def _lives(job: JobRef) -> bool:
    """Whether a process of the job is there; after a reboot none is."""
    try:
        os.killpg(_group(job), 0)  # your queue here
    except OSError:
        return False
    return True


def _file(job: JobRef, suffix: str) -> Path:
    return Path(job.folder, f"{job.id.partition('-')[0]}.{suffix}")
