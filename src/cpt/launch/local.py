"""Processes on this machine: started, signalled, and ended together."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from cpt.contracts import Launcher, Task
from cpt.errors import EXIT_DONE, EXIT_INTERRUPTED, EXIT_PREEMPTED, CptError, Fault, ResourceError
from cpt.launch.child import STOP_CODES
from cpt.launch.machine import cores

POLL_S = 0.05
GRACE_S = 10.0
"""Seconds that the others get once a process has failed: long enough to say what they know, too short to wait for its share of a sum."""
_STOPPED = (EXIT_DONE, EXIT_PREEMPTED, EXIT_INTERRUPTED)


class LocalLauncher(Launcher):
    """Runs a task's processes on this machine, each told its place by the variables that torch reads (`RANK`, `WORLD_SIZE`, ...).

    SIGINT, SIGTERM and SIGUSR1 are passed on to every process once; a second Ctrl-C kills them. A process starts with them blocked, so that
    none strikes while its imports run, and unblocks them when it listens (`cpt.launch.child.end_on_signals`). A process that fails takes
    the others with it. None outlives this one, however it ends.
    """

    def run(self, task: Task) -> int:
        """Starts `task`, waits for it, passes signals on, and returns its exit code.

        Raises:
            ResourceError: It asks for more than one node.
            CptError: A process was ended by a signal that nobody here sent.
        """
        if task.nodes != 1:
            raise ResourceError(Fault("cluster.nodes", str(task.nodes), "launcher=local runs on this machine alone", "name a launcher"))
        group = _Group()
        try:
            with group.receiving_signals():
                group.start(task)
                return group.wait()
        finally:
            group.kill()


class _Group:
    """The processes of a task, by rank."""

    def __init__(self) -> None:
        self.processes: list[subprocess.Popen[bytes]] = []
        self.started = False
        self.passed_on: set[int] = set()
        self.failed: tuple[int, int] | None = None
        """Rank and return code of the first that failed."""

    def start(self, task: Task) -> None:
        """Starts every process of `task`, with the signals to stop blocked: they inherit that.

        None is told to stop before all are there. Other threads do not block the signals, so one may be received meanwhile: it is kept.
        """
        port = _free_port()
        earlier = signal.pthread_sigmask(signal.SIG_BLOCK, STOP_CODES)
        try:
            for rank in range(task.processes):
                self.processes.append(_start(task, rank, port))
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, earlier)
        self.started = True
        for number in tuple(self.passed_on):
            self._send(number)

    def wait(self) -> int:
        """Waits for all; returns the exit code of the first failure, else the strongest reason to stop."""
        deadline = float("inf")
        while None in [process.poll() for process in self.processes]:
            if self.failed is None and (failed := self._first_failure()):
                self.failed, deadline = failed, time.monotonic() + GRACE_S
            if time.monotonic() > deadline:
                self.kill()
            time.sleep(POLL_S)
        self.failed = self.failed or self._first_failure()
        if self.failed:
            return _checked(*self.failed)
        return max(self._code(process) for process in self.processes)

    def kill(self) -> None:
        """Ends what still runs, and what it started, at once."""
        for process in self.processes:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
        for process in self.processes:
            process.wait()

    @contextmanager
    def receiving_signals(self) -> Iterator[None]:
        """Takes over the signals that ask a run to stop; only a main thread can."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        earlier = {number: signal.signal(number, self._receive) for number in STOP_CODES}
        try:
            yield
        finally:
            for number, handler in earlier.items():
                signal.signal(number, handler)

    def _receive(self, number: int, *_: object) -> None:
        again = number in self.passed_on
        if again and number != signal.SIGINT:
            return
        self.passed_on.add(number)
        if self.started:
            self._send(signal.SIGKILL if again else number)

    def _send(self, number: int) -> None:
        for process in self.processes:
            process.send_signal(number)

    def _first_failure(self) -> tuple[int, int] | None:
        codes = ((rank, process.returncode) for rank, process in enumerate(self.processes) if process.returncode is not None)
        return next(((rank, code) for rank, code in codes if self._code(self.processes[rank]) not in _STOPPED), None)

    def _code(self, process: subprocess.Popen[bytes]) -> int:
        """The exit code; a process that one of our signals ended because it does not catch it has stopped as that signal asks."""
        code = int(process.returncode)
        if -code in self.passed_on:
            return STOP_CODES[signal.Signals(-code)]
        return EXIT_INTERRUPTED if code == -signal.SIGKILL and signal.SIGINT in self.passed_on else code


def _start(task: Task, rank: int, port: int) -> subprocess.Popen[bytes]:
    """One process, in a session of its own: the terminal's Ctrl-C reaches this one alone."""
    place = {
        "RANK": rank,
        "LOCAL_RANK": rank,
        "WORLD_SIZE": task.processes,
        "LOCAL_WORLD_SIZE": task.processes,
        "GROUP_RANK": 0,
        "NODE_RANK": 0,
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": port,
    }
    threads = {"OMP_NUM_THREADS": str(max(1, cores() // task.processes))}
    env = threads | dict(os.environ) | dict(task.env) | {name: str(value) for name, value in place.items()}
    argv = [sys.executable, "-m", "cpt.launch.child", str(os.getpid()), *task.argv]
    return subprocess.Popen(argv, env=env, start_new_session=True)  # noqa: S603  (an argv, never a shell)


def _free_port() -> int:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        return int(unused.getsockname()[1])


def _checked(rank: int, code: int) -> int:
    if code >= 0:
        return code
    name = signal.Signals(-code).name
    hint = "; the system does that when memory runs out: a smaller train.micro_batch_size needs less" if name == "SIGKILL" else ""
    raise CptError(f"process {rank} was ended by {name}{hint}")
