"""The launcher of this machine: jobs in the background, watched through files, that end with the command that started them."""

from __future__ import annotations

import atexit
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import ClassVar

from cpt.contracts import JobRef, JobState, JobStatus, Launcher, LauncherOptions, Task
from cpt.errors import EXIT_DONE, EXIT_INTERRUPTED, EXIT_PREEMPTED, ResourceError
from cpt.launch.background import MemberFiles
from cpt.launch.machine import gpus, start_time


class LocalLauncher(Launcher):
    """Runs tasks on this machine, several members at once where asked: `cpt train` itself needs none of this, it trains in the foreground.

    A job's id is `<pid>@<start>/<member>`: its supervisor (`cpt.launch.background`) and when that started, in the system's ticks. Without
    a member it is that of a run in the foreground: `cpt train` itself.
    """

    Options = LauncherOptions
    outlives_command: ClassVar[bool] = False
    """Whether jobs go on when the process that submitted them ends: never here, but in a pretended cluster."""

    @classmethod
    def is_offered_here(cls) -> bool:
        """Always."""
        return True

    def check(self, task: Task) -> None:
        """One node, and no more GPUs than are here.

        Raises:
            ResourceError: The task needs more.
        """
        if task.nodes != 1:
            raise ResourceError("cluster.nodes", str(task.nodes), "launcher=local runs on this machine alone", "Name a launcher")
        if task.gpus_per_node > len(gpus()):
            raise ResourceError("cluster.gpus_per_node", str(task.gpus_per_node), f"this machine has {len(gpus())}", "Name a launcher")

    def render(self, task: Task) -> Mapping[str, str]:
        """The command line."""
        return {"command.sh": f"#!/bin/sh\nexec {shlex.join(task.argv)}\n"}

    def submit(self, task: Task) -> tuple[str, ...]:
        """Starts the supervisor of the members, in a session of its own: Ctrl-C reaches this process alone."""
        self.check(task)
        logs = task.folder / "logs"
        logs.mkdir(parents=True, exist_ok=True)
        for member in range(task.members):
            MemberFiles(task.folder, member).forget()
        argv = [str(task.members), str(task.parallel or task.members), str(task.gpus_per_node), str(task.folder), *task.argv]
        child = [] if self.outlives_command else [sys.executable, "-m", "cpt.launch.child", str(os.getpid())]
        command = [*child, sys.executable, "-m", "cpt.launch.background", *argv]
        with (logs / "supervisor.log").open("ab") as log:  # it must not hold this command's own output open
            streams = {"stdin": subprocess.DEVNULL, "stdout": log, "stderr": log}
            supervisor = subprocess.Popen(command, env=dict(os.environ) | dict(task.env), start_new_session=True, **streams)  # type: ignore[call-overload]  # noqa: S603
        _reap()
        _SUPERVISORS.append(supervisor)
        started = start_time(supervisor.pid)
        return tuple(f"{supervisor.pid}@{started}/{member}" for member in range(task.members))

    def status(self, job: JobRef) -> JobStatus:
        """What the job's files say, and whether its supervisor lives."""
        pid, started, member = _parse(job.id)
        is_there = started is not None and start_time(pid) == started
        if member is None:
            return JobStatus(JobState.RUNNING, f"process {pid}") if is_there else JobStatus(JobState.UNKNOWN, "its process is no more")
        files = MemberFiles(Path(job.folder), member)
        if (code := files.exit_code()) is not None:
            state = _ENDED.get(code, JobState.FAILED)
            is_cancelled = state is JobState.PREEMPTED and files.is_cancelled()
            return JobStatus(JobState.CANCELLED if is_cancelled else state, f"exit code {code}", code)
        if files.is_cancelled() and files.pid() is None:
            return JobStatus(JobState.CANCELLED, "before it began")
        if not is_there:
            return JobStatus(JobState.UNKNOWN if files.pid() is None else JobState.FAILED, "its processes are no more")
        return JobStatus(JobState.RUNNING, f"process {pid}") if files.pid() else JobStatus(JobState.QUEUED, "others run first")

    def cancel(self, job: JobRef) -> None:
        """Sends SIGTERM to the member, or keeps it from beginning."""
        if self.status(job).state.ended:
            return
        pid, _, member = _parse(job.id)
        if member is None:
            os.kill(pid, signal.SIGTERM)
            return
        files = MemberFiles(Path(job.folder), member)
        files.cancel()
        if (process := files.pid()) is not None and start_time(process[0]) == process[1]:
            os.kill(process[0], signal.SIGTERM)

    def logs(self, job: JobRef) -> Iterator[tuple[str, str]]:
        """The member's output."""
        member = _parse(job.id)[2]
        file = MemberFiles(Path(job.folder), member).log if member is not None else None
        if file is not None and file.exists():
            yield from (("output", line) for line in file.read_text(errors="replace").splitlines())


_SUPERVISORS: list[subprocess.Popen[bytes]] = []
"""Kept until they end: Python complains of a process that nobody waits for."""
_ENDED = {EXIT_DONE: JobState.COMPLETED, EXIT_PREEMPTED: JobState.PREEMPTED, EXIT_INTERRUPTED: JobState.PREEMPTED}


@atexit.register
def _reap() -> None:
    _SUPERVISORS[:] = [supervisor for supervisor in _SUPERVISORS if supervisor.poll() is None]


def _parse(job: str) -> tuple[int, str | None, int | None]:
    """Process, its start and the member of a job's id; no start for an id that is none of ours, no member for a run in the foreground."""
    process, slash, member = job.partition("/")
    pid, _, started = process.partition("@")
    if not pid.isdecimal() or not started or (slash and not member.isdecimal()):
        return 0, None, 0
    return int(pid), started, int(member) if slash else None
