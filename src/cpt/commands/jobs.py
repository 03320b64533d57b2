"""`cpt jobs`: list, status, logs, cancel, wait."""

from __future__ import annotations

import argparse
import shlex
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from cpt.commands.output import show
from cpt.console import StatusLine, say
from cpt.errors import EXIT_DONE, EXIT_OURS, EXIT_PREEMPTED, Interrupted, Preempted

if TYPE_CHECKING:
    from cpt.jobs import JobView

FOLLOW_S = 1.0


def list_jobs(arguments: argparse.Namespace) -> None:
    from cpt import jobs

    views = jobs.listed()
    rows = [("RUN", "LAUNCHER", "ID", "STATE", "STEPS"), *(_row(view) for view in views)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    show(arguments, [view.to_json() for view in views], lines if views else ["no jobs"])


def status(arguments: argparse.Namespace) -> None:
    from cpt import jobs

    views = jobs.views(arguments.job)
    documents = [view.to_json() for view in views]
    show(arguments, documents[0] if len(documents) == 1 else documents, [_line(view) for view in views])


@contextmanager
def _only_looking() -> Iterator[None]:
    """What stops the command stops the look at a job, and not the job."""
    try:
        yield
    except (KeyboardInterrupt, Preempted) as stop:
        kind = Preempted if isinstance(stop, Preempted) else Interrupted
        raise kind("looking at the job, which goes on") from None


@_only_looking()
def logs(arguments: argparse.Namespace) -> None:
    from cpt import jobs

    shown: Counter[str] = Counter()
    while True:
        ended = not arguments.follow or jobs.view(arguments.job).state.ended  # asked first: what it writes last is shown
        seen: Counter[str] = Counter()
        for process, line in jobs.logs(arguments.job, arguments.process):
            seen[process] += 1
            if seen[process] > shown[process]:
                print(f"{process}: {line}" if arguments.process is None else line, flush=True)
        shown = seen
        if ended:
            return
        time.sleep(FOLLOW_S)


def cancel(arguments: argparse.Namespace) -> None:
    from cpt import jobs
    from cpt.contracts import JobState

    views = sorted(jobs.views(arguments.job), key=lambda view: view.state is JobState.RUNNING)  # who waits would take a freed place
    for run in [view.run for view in views]:
        view = jobs.cancel(run)
        print(_line(view) if view.state.ended else f"asked to commit and end: {_line(view)}")


@_only_looking()
def wait(arguments: argparse.Namespace) -> int:
    from cpt import jobs

    return next(filter(None, [_wait(run, arguments.timeout) for run in jobs.named(arguments.job)]), EXIT_DONE)


def _wait(run: str, timeout_s: float | None) -> int:
    """Follows one job to its end; returns the exit code that it ended with."""
    from cpt import api, jobs
    from cpt.contracts import JobState

    line = StatusLine()
    for view in jobs.wait(run, timeout_s):
        line.update(f"{view.launcher} {view.id}  {view.state}  {_steps(view)}  {view.reason}")
    line.clear()
    print(_line(view))
    if view.state is JobState.COMPLETED:
        done = api.Run.at(view.run)
        if done.manifest:  # a task of cpt prepare is a job, but no run
            print("\n".join(done.lines()))
        return EXIT_DONE
    say(f"why: {shlex.join(['cpt', 'jobs', 'logs', view.run])}")
    return view.exit_code or (EXIT_PREEMPTED if view.state in (JobState.PREEMPTED, JobState.CANCELLED) else EXIT_OURS)


def _row(view: JobView) -> tuple[str, ...]:
    return (view.run, view.launcher, view.id, view.state.value, _steps(view))


def _steps(view: JobView) -> str:
    return f"{view.steps}/{view.total_steps}" if view.total_steps is not None else "-"


def _line(view: JobView) -> str:
    reason = f" ({view.reason})" if view.reason else ""
    return f"{view.launcher} {view.id}: {view.state}{reason}, {_steps(view)} steps, {view.run}"
