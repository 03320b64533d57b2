"""What a started process does about its starter: dies with it, and ends when told to.

`python -m cpt.launch.child PARENT_PID ARGV...` becomes ARGV, and is killed by the kernel the moment its parent is no more, even by SIGKILL.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

from cpt.errors import EXIT_INTERRUPTED, EXIT_PREEMPTED

STOP_CODES = {signal.SIGINT: EXIT_INTERRUPTED, signal.SIGTERM: EXIT_PREEMPTED, signal.SIGUSR1: EXIT_PREEMPTED}
"""Signals that ask a run to stop, and the exit code that each ends it with."""
_PR_SET_PDEATHSIG = 1


def end_on_signals() -> None:
    """Ends this process at once when it is told to stop, until something with more to save takes the signals over.

    The launcher starts processes with these signals blocked; from here on they are heard, those that came before too.
    """
    for number in STOP_CODES:
        signal.signal(number, _end)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_CODES)


def die_with(parent_pid: int) -> None:
    """Has the kernel kill this process when its parent ends (Linux); ends it now if that has happened already.

    Source: prctl(2), PR_SET_PDEATHSIG; it outlives execve(2).
    """
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent_pid:
        os._exit(EXIT_PREEMPTED)


def main(parent_pid: str, *argv: str) -> None:
    """Becomes `argv`."""
    die_with(int(parent_pid))
    os.execvp(argv[0], argv)  # noqa: S606  (an argv, never a shell)


def _end(number: int, *_: object) -> None:
    os._exit(STOP_CODES[signal.Signals(number)])


if __name__ == "__main__":
    main(*sys.argv[1:])
