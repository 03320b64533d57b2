"""Jobs of this machine: in the background, watched and cancelled through files, and no more when their starter is."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from cpt.contracts import JobRef, JobState, LauncherOptions, Task
from cpt.errors import ResourceError
from cpt.launch.local import LocalLauncher
from cpt.launch.machine import start_time

SLEEPS = """
import os, signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: sys.exit(75))
print("member", os.environ["CPT_MEMBER"], flush=True)
time.sleep(60)
"""


def launcher() -> LocalLauncher:
    return LocalLauncher(LauncherOptions())


def submit(folder: Path, code: str, **settings: int) -> list[JobRef]:
    task = Task("task", (sys.executable, "-c", code), nodes=1, processes=1, folder=folder, **settings)
    return [JobRef(job, "task", str(folder)) for job in launcher().submit(task)]


def until(claim: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not claim():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def state(job: JobRef) -> JobState:
    return launcher().status(job).state


@pytest.mark.parametrize(
    ("code", "ends"), [(0, JobState.COMPLETED), (2, JobState.FAILED), (75, JobState.PREEMPTED), (130, JobState.PREEMPTED)]
)
def test_a_job_runs_and_ends_as_its_argv_does(tmp_path: Path, code: int, ends: JobState) -> None:
    (job,) = submit(tmp_path, f"print('hello'); raise SystemExit({code})")
    until(lambda: state(job).ended)
    assert launcher().status(job).exit_code == code
    assert state(job) is ends
    assert list(launcher().logs(job)) == [("output", "hello")]


def test_members_run_side_by_side_as_far_as_they_may(tmp_path: Path) -> None:
    jobs = submit(tmp_path, SLEEPS, members=3, parallel=2)
    until(lambda: [state(job) for job in jobs] == [JobState.RUNNING, JobState.RUNNING, JobState.QUEUED])
    launcher().cancel(jobs[2])
    until(lambda: list(launcher().logs(jobs[1])) == [("output", "member 1")])
    launcher().cancel(jobs[1])
    until(lambda: state(jobs[1]) is JobState.CANCELLED)
    until(lambda: state(jobs[2]).ended)
    assert state(jobs[0]) is JobState.RUNNING
    assert not list(launcher().logs(jobs[2]))
    launcher().cancel(jobs[0])
    until(lambda: state(jobs[0]).ended)


def test_another_process_sees_the_same(tmp_path: Path) -> None:
    (job,) = submit(tmp_path, SLEEPS)
    until(lambda: state(job) is JobState.RUNNING)
    asks = f"""
from cpt.contracts import JobRef, LauncherOptions
from cpt.launch.local import LocalLauncher
launcher, job = LocalLauncher(LauncherOptions()), JobRef({job.id!r}, "task", {job.folder!r})
print(launcher.status(job).state)
launcher.cancel(job)
"""
    assert subprocess.run([sys.executable, "-c", asks], capture_output=True, text=True, check=True).stdout == "running\n"
    until(lambda: state(job) is JobState.CANCELLED)


def test_no_job_outlives_the_command_that_started_it(tmp_path: Path) -> None:
    starts = f"""
import sys, time
from pathlib import Path
from cpt.contracts import LauncherOptions, Task
from cpt.launch.local import LocalLauncher
task = Task("task", (sys.executable, "-c", {SLEEPS!r}), nodes=1, processes=1, folder=Path({str(tmp_path)!r}))
print(*LocalLauncher(LauncherOptions()).submit(task), flush=True)
time.sleep(60)
"""
    command = subprocess.Popen([sys.executable, "-c", starts], stdout=subprocess.PIPE, text=True)
    assert command.stdout is not None
    job = JobRef(command.stdout.readline().strip(), "task", str(tmp_path))
    until(lambda: state(job) is JobState.RUNNING)
    member = int((tmp_path / "logs" / "member-0.pid").read_text().split()[0])
    command.kill()
    command.communicate()
    until(lambda: start_time(member) is None)
    assert state(job) is JobState.FAILED


def test_a_job_that_nobody_knows_is_unknown(tmp_path: Path) -> None:
    for name in ("1@2/0", "none", ""):
        assert state(JobRef(name, "task", str(tmp_path))) is JobState.UNKNOWN
        launcher().cancel(JobRef(name, "task", str(tmp_path)))


def test_more_than_this_machine_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ResourceError, match=r"cluster.nodes: 2"):
        launcher().check(Task("task", ("true",), nodes=2, processes=1, folder=tmp_path))
    with pytest.raises(ResourceError, match=r"cluster.gpus_per_node: 64"):
        launcher().check(Task("task", ("true",), nodes=1, processes=1, folder=tmp_path, gpus_per_node=64))
