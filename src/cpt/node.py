"""The agent of a node: `python -m cpt.node RUN`, or `python -m cpt.node --members FILE` in an array; what launchers start.

On node 0 it takes the run's lease, finds where to go on from, tells the other nodes, and starts its ranks with theirs; on the others it
follows. The same command again goes on, so a scheduler may stop it and start it anew as it likes. Torch-free: the ranks are processes of
their own (`cpt.worker`).
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from cpt import storage
from cpt.cli import exit_code, stop_on_signals
from cpt.console import say
from cpt.contracts import JobRef
from cpt.errors import EXIT_DONE, Stuck
from cpt.job import run_worker
from cpt.launch.nodes import Follower, Leader, this_place
from cpt.launch.processes import Processes
from cpt.order import ATTEMPTS, Order, Submitted, not_submitted
from cpt.rundir import RunDirectory
from cpt.submission import make_submission
from cpt.submit import make_job, queue_name, submit

SUBMITTER_S = 60.0
"""Seconds that an agent waits for the submitting process to have noted the job, and to let go of the run."""
MOST_STARTS = 4
"""From one and the same step; then a run is stuck."""


def main(*words: str) -> int:
    """Runs the agent and returns its exit code (`cpt.errors`)."""
    stop_on_signals()
    try:
        return _run(_location(*words))
    except (Exception, KeyboardInterrupt) as error:
        return exit_code(error, again=None)


def _location(*words: str) -> str:
    if words[0] != "--members":
        return words[0]
    if not storage.exists(words[1]):
        raise not_submitted(words[1])
    members = json.loads(storage.read_bytes(words[1]))
    return str(members[int(os.environ["CPT_MEMBER"])])


def _run(location: str) -> int:
    run = RunDirectory.at(location)
    order = Order.read(run)
    run = RunDirectory(location.removesuffix("/" + order.run_name), order.run_name)
    os.environ["CPT_STORE"] = order.store
    if Path(order.folder).is_dir():
        os.chdir(order.folder)
    processes = Processes(order.processes, this_place(order.recipe.cluster.nodes))
    return _lead(run, order, processes) if processes.place.node == 0 else _follow(run, order, processes)


def _lead(run: RunDirectory, order: Order, processes: Processes) -> int:
    leader = Leader(processes, run.uri())
    with leader.gathered():
        submission = make_submission(order.recipe, order.fingerprints, order.processes)
        submit(submission, run, order.recipe_yaml, lambda argv, step: leader.run(argv, _word(run, step)), _job(run, order), SUBMITTER_S)
    return EXIT_DONE


def _word(run: RunDirectory, step: int | None) -> dict[str, Any]:
    """What the other nodes are told; says no to a run that has begun from here too often.

    Raises:
        Stuck: This would be one start too many from the same step.
    """
    place = run.uri(ATTEMPTS)
    attempts = [*(json.loads(storage.read_bytes(place)) if storage.exists(place) else []), step]
    if len(attempts) > MOST_STARTS and len(set(attempts[-MOST_STARTS - 1 :])) == 1:
        raise Stuck(f"no progress from step {step or 0} in {MOST_STARTS} attempts; the logs say why. Submit it again to try once more")
    storage.write_bytes(place, json.dumps(attempts).encode())
    return {"step": step}


def _follow(run: RunDirectory, order: Order, processes: Processes) -> int:
    follower = Follower(processes, run.uri())
    submission = make_submission(order.recipe, order.fingerprints, order.processes)
    word = follower.hear()
    if word is None:
        say(f"node {processes.place.node}: node 0 has nothing to do, or has failed")
        return EXIT_DONE
    resume = None if word["step"] is None else run.checkpoint(word["step"])
    return run_worker(make_job(run, submission, resume), follower.run, run.job_folder / f"job-node-{processes.place.node}.json")


def _job(run: RunDirectory, order: Order) -> Submitted | None:
    """This job: as the submitting process noted it; where somebody submitted it by hand, as its files say; None if nobody told."""
    own = _by_hand(run, order)
    deadline = time.monotonic() + SUBMITTER_S
    while (noted := Submitted.read(run)) is None or not noted.id:
        if (noted is None and own) or time.monotonic() > deadline:
            return own
        time.sleep(0.2)
    is_another = own is not None and own.launcher == noted.launcher and own.id not in noted.id.split(",")  # of a chain the id names all
    return own if is_another else noted


def _by_hand(run: RunDirectory, order: Order) -> Submitted | None:
    """The job that this process is a part of, as the files of a launcher tell it (`cpt.contracts.Task`)."""
    told = [os.environ.get(f"CPT_JOB_{part}") for part in ("LAUNCHER", "ID", "FOLDER")]
    if not all(told):
        return None
    launcher, job, folder = map(str, told)
    return Submitted.now(launcher, order.recipe.kept()["launcher"]["options"], JobRef(job, queue_name(run.name), folder))


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
