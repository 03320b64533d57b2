"""The processes of this node: started, signalled, and ended together."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO

from cpt.cores import cores
from cpt.errors import EXIT_DONE, EXIT_INTERRUPTED, EXIT_OURS, EXIT_PREEMPTED, CptError
from cpt.launch.child import STOP_CODES

RANK_LOGS = "CPT_RANK_LOGS"
"""Names a folder where each rank's output goes, appended to `rank-<RANK>.log`; unset: to this process's own."""

POLL_S = 0.05
GRACE_S = 10.0
"""Seconds that the others get once a process has failed: long enough to say what they know, too short to wait for its share of a sum."""
_STOPPED = (EXIT_DONE, EXIT_PREEMPTED, EXIT_INTERRUPTED)


@dataclass(frozen=True)
class Place:
    """Where a node stands among the nodes of a task.

    Args:
        node: Its number, from 0.
        nodes: How many there are.
        host: Node 0, as the others reach it.
        port: Of node 0: where the nodes meet (`cpt.launch.nodes`), and then the ranks, in torch's c10d store; None: one that is free (one
            node only).
    """

    node: int = 0
    nodes: int = 1
    host: str = "127.0.0.1"
    port: int | None = None


@dataclass(frozen=True)
class Processes:
    """Processes of one argv on this node, each told its place by the variables that torch reads (`RANK`, `WORLD_SIZE`, ...).

    SIGINT, SIGTERM and SIGUSR1 are passed on to every process once; a second Ctrl-C kills them. A process starts with them blocked, so that
    none strikes while its imports run, and unblocks them when it listens (`cpt.launch.child.end_on_signals`). A process that fails takes
    the others with it. None outlives this one, however it ends.

    Args:
        count: Processes on this node, and on every other.
        place: The node.
        env: Environment variables to add.
    """

    count: int
    place: Place = field(default_factory=Place)
    env: Mapping[str, str] = field(default_factory=dict)

    def meeting_at(self, port: int) -> Processes:
        """The same, with another port."""
        return replace(self, place=replace(self.place, port=port))

    def run(self, argv: Sequence[str], abandoned: Callable[[], bool] = lambda: False) -> int:
        """Starts them, waits for all, and returns the task's exit code (`cpt.errors`).

        Args:
            argv: What each process runs.
            abandoned: Asked time and again whether another node has failed: these then end too.

        Raises:
            CptError: A process was ended by a signal that nobody here sent.
        """
        group = _Group()
        try:
            with group.receiving_signals():
                group.start(self, argv)
                return group.wait(abandoned)
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
        self.abandoned = False

    def start(self, wanted: Processes, argv: Sequence[str]) -> None:
        """Starts every process, with the signals to stop blocked: they inherit that.

        None is told to stop before all are there. Other threads do not block the signals, so one may be received meanwhile: it is kept.
        """
        port = wanted.place.port or free_port()
        earlier = signal.pthread_sigmask(signal.SIG_BLOCK, STOP_CODES)
        try:
            for local_rank in range(wanted.count):
                self.processes.append(_start(wanted, argv, local_rank, port))
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, earlier)
        self.started = True
        for number in tuple(self.passed_on):
            self._send(number)

    def wait(self, abandoned: Callable[[], bool]) -> int:
        """Waits for all; returns the exit code of the first failure, else the strongest reason to stop."""
        deadline = float("inf")
        while None in [process.poll() for process in self.processes]:
            if self.failed is None and (failed := self._first_failure()):
                self.failed, deadline = failed, time.monotonic() + GRACE_S
            if deadline == float("inf") and abandoned():
                self.abandoned, deadline = True, time.monotonic() + GRACE_S
            if time.monotonic() > deadline:
                self.kill()
            time.sleep(POLL_S)
        self.failed = self.failed or self._first_failure()
        if self.failed and self.abandoned:
            return EXIT_OURS
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


def _start(wanted: Processes, argv: Sequence[str], local_rank: int, port: int) -> subprocess.Popen[bytes]:
    """One process, in a session of its own: the terminal's Ctrl-C reaches this one alone."""
    place = wanted.place
    rank = place.node * wanted.count + local_rank
    variables = {
        "RANK": rank,
        "LOCAL_RANK": local_rank,
        "WORLD_SIZE": wanted.count * place.nodes,
        "LOCAL_WORLD_SIZE": wanted.count,
        "GROUP_RANK": place.node,
        "NODE_RANK": place.node,
        "MASTER_ADDR": place.host,
        "MASTER_PORT": port,
    }
    threads = {"OMP_NUM_THREADS": str(max(1, cores() // wanted.count))}
    env = threads | dict(os.environ) | dict(wanted.env) | {name: str(value) for name, value in variables.items()}
    command = [sys.executable, "-m", "cpt.launch.child", str(os.getpid()), *argv]
    with _log(rank) as log:
        return subprocess.Popen(command, env=env, stdout=log, stderr=log, start_new_session=True)  # noqa: S603  (an argv, never a shell)


@contextmanager
def _log(rank: int) -> Iterator[IO[bytes] | None]:
    """Where a rank's output goes; None: where this process's own does."""
    if folder := os.environ.get(RANK_LOGS):
        Path(folder).mkdir(parents=True, exist_ok=True)
        with Path(folder, f"rank-{rank}.log").open("ab") as file:
            yield file
    else:
        yield None


def free_port() -> int:
    """A port of this machine that nobody has now."""
    with socket.socket() as unused:
        unused.bind(("", 0))
        return int(unused.getsockname()[1])


def _checked(rank: int, code: int) -> int:
    if code >= 0:
        return code
    name = signal.Signals(-code).name
    hint = "; the system does that when memory runs out: a smaller train.micro_batch_size needs less" if name == "SIGKILL" else ""
    raise CptError(f"process {rank} was ended by {name}{hint}")
