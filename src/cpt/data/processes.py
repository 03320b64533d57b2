"""Members of an array as processes of this machine: followed through the JSON lines on their stdout, ended with this one."""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from typing import IO, Any

from cpt.data.progress import Progress
from cpt.errors import CptError, DataError, Fault

BECOME_CHILD = (sys.executable, "-m", "cpt.launch.child")
"""Becomes an argv that the kernel kills when this process ends."""
LINES_OF_A_CRASH = 20


def run_members(argv: Sequence[str], members: Sequence[int], progress: Progress) -> None:
    """Runs `argv` once for each member, all at once, and returns when all have ended well.

    Args:
        argv: What each runs; it finds its number in `CPT_MEMBER`.
        members: Their numbers.
        progress: Told of documents and bytes that they have done together.

    Raises:
        DataError: A member's faults; the others are ended.
        CptError: A member crashed.
    """
    done = {"documents": 0, "size_bytes": 0}
    with tempfile.TemporaryFile("w+") as errors:
        processes = [_start(argv, member, len(members), errors) for member in members]
        try:
            for line in _lines(processes):
                if "fault" in line:
                    raise DataError(Fault(**line["fault"]))
                done = {name: count + line[name] for name, count in done.items()}
                progress("tokenise", **done)
            if code := max((process.wait() for process in processes), key=abs):
                raise CptError(f"a process that tokenises ended with {code}, and said: {_end_of(errors)}")
        finally:
            for process in processes:
                process.kill()
                process.wait()


def _start(argv: Sequence[str], member: int, members: int, errors: IO[str]) -> subprocess.Popen[str]:
    """A process in a group of its own, so that Ctrl-C reaches this one alone, which ends it."""
    threads = {} if members == 1 else {"RAYON_NUM_THREADS": "1"}  # the tokenizers' own; the processes share the cores already
    env = threads | dict(os.environ) | {"CPT_MEMBER": str(member)}
    command = [*BECOME_CHILD, str(os.getpid()), *argv]
    return subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=errors, text=True, process_group=0)  # noqa: S603  (an argv)


def _lines(processes: Sequence[subprocess.Popen[str]]) -> Iterator[dict[str, Any]]:
    """What the processes write, as it comes, until the last has ended."""
    lines: queue.Queue[str | None] = queue.Queue()
    for process in processes:
        threading.Thread(target=_forward, args=(process, lines), daemon=True).start()
    running = len(processes)
    while running:
        line = lines.get()
        if line is None:
            running -= 1
        else:
            yield json.loads(line)


def _forward(process: subprocess.Popen[str], lines: queue.Queue[str | None]) -> None:
    assert process.stdout
    with process.stdout:
        for line in process.stdout:
            lines.put(line)
    lines.put(None)


def _end_of(errors: IO[str]) -> str:
    errors.seek(0)
    return "".join(errors.readlines()[-LINES_OF_A_CRASH:])
