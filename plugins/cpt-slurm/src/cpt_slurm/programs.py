"""Slurm's own programs: asked with an argv, answering in text, refusing in their own words."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Collection, Iterable, Sequence
from typing import NamedTuple

from cpt.contracts import JobState
from cpt.errors import Fault, ResourceError

PROGRAMS = ("sbatch", "squeue", "scontrol", "scancel")
TIMEOUT_S = 100.0
"""Longer than these programs themselves wait for a controller."""
_KEPT = ("SLURM_CONF", "SLURM_JWT")
"""Where the cluster is and who asks; every other variable of Slurm's belongs to a job that this may run in."""
_FORGOTTEN = "Invalid job id"
_UNREACHED = re.compile(r"[Uu]nable to contact slurm controller|[Ss]ocket timed out|Connection (refused|timed out)|Zero Bytes")
_LOOK = "Look at the cluster with sinfo, and try again once it answers"
_ALREADY_DONE = 2021 % 256
"""scancel's exit code for ESLURM_ALREADY_DONE; also where it has told one member of an array to end while others wait (Slurm 22.05)."""
_SPEAKER = re.compile(r"^\w+: (error|fatal): ")

_BY_STATE = {
    JobState.QUEUED: "PENDING REQUEUED REQUEUE_HOLD REQUEUE_FED SPECIAL_EXIT RESV_DEL_HOLD",
    JobState.RUNNING: "RUNNING COMPLETING CONFIGURING RESIZING SIGNALING STAGE_OUT STOPPED SUSPENDED",
    JobState.COMPLETED: "COMPLETED",
    JobState.FAILED: "FAILED BOOT_FAIL DEADLINE NODE_FAIL OUT_OF_MEMORY TIMEOUT",
    JobState.CANCELLED: "CANCELLED REVOKED",
    JobState.PREEMPTED: "PREEMPTED",
}
_STATES = {word: state for state, words in _BY_STATE.items() for word in words.split()}


class Found(NamedTuple):
    """What Slurm says of a job."""

    word: str
    """Its state, in Slurm's word."""
    detail: str
    """Why it waits, or where it runs."""
    exit_code: int | None = None

    @property
    def state(self) -> JobState:
        """Its state, in ours; what a newer Slurm calls by another word has not ended, as far as we know."""
        return _STATES.get(self.word, JobState.RUNNING)


def missing_programs() -> list[Fault]:
    """A fault for each program that is not on PATH."""
    missing = [name for name in PROGRAMS if shutil.which(name) is None]
    return [Fault(name, "", "is not on this machine's PATH", "Submit from a login node of the cluster") for name in missing]


def cancel(job: str, *options: str) -> None:
    """Runs scancel on a job; one that has ended meanwhile is no fault.

    Raises:
        ResourceError: See `ask`.
    """
    ask(["scancel", *options, job], fine=(0, _ALREADY_DONE))


def ask(argv: Sequence[str], text: str = "", fine: Collection[int] = (0,)) -> str:
    """Runs a program of Slurm's and returns what it printed.

    Args:
        argv: The program and its arguments.
        text: Its standard input.
        fine: Exit codes that are no refusal.

    Raises:
        ResourceError: It is not here, refused, or did not answer; in its own words.
    """
    env = {name: value for name, value in os.environ.items() if not name.startswith("SLURM_") or name in _KEPT}
    try:
        done = subprocess.run(argv, input=text, env=env, capture_output=True, text=True, errors="replace", timeout=TIMEOUT_S, check=False)  # noqa: S603
    except FileNotFoundError:
        raise ResourceError.of(missing_programs()) from None
    except subprocess.TimeoutExpired:
        raise ResourceError(argv[0], "", f"did not answer within {TIMEOUT_S:.0f} s", _LOOK) from None
    if done.returncode not in fine:
        said = _own_words(done.stderr) or f"ended with exit code {done.returncode}"
        raise ResourceError(argv[0], "", said, _LOOK if _UNREACHED.search(said) else "")
    return done.stdout


def in_queue(jobs: Iterable[str]) -> dict[str, Found]:
    """The jobs as the controller has them, by id, in one question; those that never were or are forgotten are not among them.

    Raises:
        ResourceError: The controller does not answer.
    """
    whole = sorted({job.partition("_")[0] for job in jobs})  # of an array all members: its id is one word, theirs are thousands
    if not whole:
        return {}
    try:
        lines = ask(["squeue", "--noheader", "--array", "--states=all", f"--jobs={','.join(whole)}", "--format=%i|%T|%r|%N"]).splitlines()
    except ResourceError as error:
        if _FORGOTTEN in str(error):
            return {}
        raise
    return dict(_read(line) for line in lines)


def _read(line: str) -> tuple[str, Found]:
    job, word, reason, nodes = line.split("|", 3)
    return job.strip(), Found(word, f"on {nodes}" if word == "RUNNING" else reason if reason != "None" else "")


def in_accounts(job: str) -> Found | None:
    """The job as the accounting database has it; None where there is no such database, or no such job."""
    fields = "--format=State,ExitCode"
    try:
        lines = ask(["sacct", "--noheader", "--parsable2", "--allocations", f"--jobs={job}", fields]).splitlines()
    except ResourceError:
        return None
    if not lines:
        return None
    state, codes = lines[-1].split("|", 1)
    code, _, signal = codes.partition(":")
    return Found(state.split()[0], state, int(code) if signal == "0" and code.isdecimal() else None)


def _own_words(stderr: str) -> str:
    return "; ".join(_SPEAKER.sub("", line) for line in stderr.splitlines() if line.strip())
