"""`cpt jobs`: list, status, logs, cancel, wait."""

from __future__ import annotations

import argparse
import time
from collections import Counter
from typing import TYPE_CHECKING

from cpt.commands.output import show
from cpt.console import StatusLine
from cpt.errors import EXIT_DONE, EXIT_OURS, EXIT_PREEMPTED

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

    view = jobs.view(arguments.job)
    show(arguments, view.to_json(), _lines(view))


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

    print("\n".join(_lines(jobs.cancel(arguments.job))))


def wait(arguments: argparse.Namespace) -> int:
    from cpt import api, jobs
    from cpt.contracts import JobState

    line = StatusLine()
    for view in jobs.wait(arguments.job, arguments.timeout):
        line.update(f"{view.launcher} {view.id}  {view.state}  {_steps(view)}  {view.reason}")
    line.clear()
    print("\n".join(_lines(view)))
    if view.state is JobState.COMPLETED:
        run = api.Run.at(view.run)
        if run.manifest:  # a task of cpt prepare is a job, but no run
            print("\n".join(run.lines()))
        return EXIT_DONE
    return view.exit_code or (EXIT_PREEMPTED if view.state in (JobState.PREEMPTED, JobState.CANCELLED) else EXIT_OURS)


def _row(view: JobView) -> tuple[str, ...]:
    return (view.run, view.launcher, view.id, view.state.value, _steps(view))


def _steps(view: JobView) -> str:
    return f"{view.steps}/{view.total_steps}" if view.total_steps is not None else "-"


def _lines(view: JobView) -> list[str]:
    reason = f" ({view.reason})" if view.reason else ""
    return [f"{view.launcher} {view.id}: {view.state}{reason}, {_steps(view)} steps, {view.run}"]
