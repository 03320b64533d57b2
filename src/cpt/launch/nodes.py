"""The nodes of one job: node 0 says where to go on from, the others follow, and none works on once another has failed.

Each follower keeps one connection to node 0, on the first of `PORTS` ports from MASTER_PORT on that is free there: a port that another
program has, or another job's agents, is passed over. What travels is a line of JSON each way: who is there for which run, the leader's
word on the attempt (a port that it has just found free, where the ranks meet), and at the end the follower's exit code. A connection that
breaks means that its other end is no more. Like torch's own rendezvous this trusts the network between the nodes; nothing secret, and
nothing to execute, crosses it.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from cpt.errors import EXIT_DONE, EXIT_INTERRUPTED, EXIT_OURS, EXIT_PREEMPTED, CptError, Fault, ResourceError
from cpt.launch.processes import Place, Processes, free_port

PORTS = 16
"""Ports that the agents may meet on."""
HELLO_S = 2.0
"""Seconds in which whoever connects must have said who is there: less than `ANSWER_S`, so that a silent stranger keeps nobody out."""
ANSWER_S = 10.0
"""Seconds in which whoever listens must have answered."""
GATHER_S = 900.0
"""Seconds that node 0 waits for the others, and they for it: containers start at different speeds."""
TOGETHER_S = 120.0
"""Seconds within which nodes that end well all end: a stop is agreed on in a step, and committed by all."""
FAREWELL_S = 30.0
"""Seconds that node 0 waits for the exit codes of the others once its own processes have ended."""


def this_place(nodes: int) -> Place:
    """This node's place among `nodes`, by the variables that a launcher sets (`cpt.contracts.Task`).

    Raises:
        ResourceError: There are several nodes, and a variable is missing or is no number.
    """
    if nodes == 1:
        return Place()
    found = {name: os.environ.get(name, "") for name in ("NODE_RANK", "MASTER_ADDR", "MASTER_PORT")}
    wrong = [name for name, value in found.items() if not value or (name != "MASTER_ADDR" and not value.isdecimal())]
    if wrong:
        cure = "a launcher sets it on each node"
        raise ResourceError.of(Fault(name, found[name], f"must be set on each of {nodes} nodes", cure) for name in wrong)
    return Place(int(found["NODE_RANK"]), nodes, found["MASTER_ADDR"], int(found["MASTER_PORT"]))


class Leader:
    """Node 0: runs its own processes with those of all other nodes.

    Args:
        processes: Of this node.
        run: What the run is known by on all nodes.
    """

    def __init__(self, processes: Processes, run: str) -> None:
        self.processes, self._run = processes, run
        self._followers: dict[int, socket.socket] = {}
        self._codes: dict[int, int] = {}
        self._first_ended: float | None = None

    @contextmanager
    def gathered(self) -> Iterator[None]:
        """Waits until every other node has come, and lets them go at the end: those that were given no word then have nothing to do.

        Raises:
            CptError: A node did not come in time.
        """
        place = self.processes.place
        try:
            if place.nodes > 1:
                self._gather(place)
            yield
        finally:
            for follower in self._followers.values():
                follower.close()

    def run(self, argv: Sequence[str], word: dict[str, Any]) -> int:
        """Gives the other nodes `word`, runs `argv` here, and returns the exit code of the whole."""
        port = free_port()
        for follower in self._followers.values():
            _send(follower, {**word, "port": port})
        return self._overall(self.processes.meeting_at(port).run(argv, self._has_lost_one))

    def _gather(self, place: Place) -> None:
        deadline = time.monotonic() + GATHER_S
        with _listening(place) as server:
            server.settimeout(1.0)
            while missing := sorted(set(range(1, place.nodes)) - set(self._followers)):
                if time.monotonic() > deadline:
                    raise CptError(f"node {missing[0]} of {place.nodes} did not come within {GATHER_S:.0f} s")
                with contextlib.suppress(TimeoutError):
                    connection, _ = server.accept()
                    connection.settimeout(HELLO_S)
                    _keep_alive(connection)
                    self._welcome(connection)

    def _welcome(self, connection: socket.socket) -> None:
        """Takes in a follower of this run; whoever else has come is shown out."""
        hello = _receive(connection)
        if hello is None or hello.get("run") != self._run:
            connection.close()
            return
        with contextlib.suppress(OSError):  # it may have given up, and comes again
            _send(connection, {"run": self._run})
            connection.settimeout(None)
            self._followers[int(hello["node"])] = connection

    def _has_lost_one(self) -> bool:
        """Whether a follower has failed, or has ended so long ago that the others will not end by themselves."""
        self._listen(0.0)
        is_late = self._first_ended is not None and time.monotonic() - self._first_ended > TOGETHER_S
        return is_late or any(code not in _ENDED_WELL for code in self._codes.values())

    def _overall(self, code: int) -> int:
        if code not in _ENDED_WELL:
            self._hang_up()
        deadline = time.monotonic() + FAREWELL_S
        while len(self._codes) < len(self._followers) and time.monotonic() < deadline:
            self._listen(0.2)
        codes = [code, *self._codes.values()]
        failed = [one for one in codes if one not in _ENDED_WELL]
        telling = [one for one in failed if one != EXIT_OURS]  # what ends with the failing one says no more than that
        return next(iter([*telling, *failed]), max(codes))

    def _hang_up(self) -> None:
        """Lets the followers know that this node has failed; what they have to say is still heard."""
        for follower in self._followers.values():
            with contextlib.suppress(OSError):
                follower.shutdown(socket.SHUT_WR)

    def _listen(self, timeout_s: float) -> None:
        """Takes in what followers say; one whose connection broke has failed."""
        waiting = {follower: node for node, follower in self._followers.items() if node not in self._codes}
        ready, _, _ = select.select(list(waiting), [], [], timeout_s) if waiting else ([], [], [])
        for follower in ready:
            farewell = _receive(follower)
            self._codes[waiting[follower]] = int(farewell["code"]) if farewell else EXIT_OURS
            self._first_ended = self._first_ended or time.monotonic()


class Follower:
    """Any other node: hears from node 0 where to go on from, runs its processes, and reports how they ended.

    Args:
        processes: Of this node.
        run: What the run is known by on all nodes.

    Raises:
        CptError: Node 0 cannot be reached.
    """

    def __init__(self, processes: Processes, run: str) -> None:
        self.processes = processes
        self._leader = _connect(processes.place, run)

    def hear(self) -> dict[str, Any] | None:
        """Node 0's word; None where it has nothing to do or is no more."""
        word = _receive(self._leader)
        if word is not None:
            self.processes = self.processes.meeting_at(word["port"])
        return word

    def run(self, argv: Sequence[str]) -> int:
        """Runs `argv` here and returns its exit code."""
        code = EXIT_OURS
        try:
            code = self.processes.run(argv, self._leader_is_gone)
        finally:
            with contextlib.suppress(OSError):
                _send(self._leader, {"code": code})
            self._leader.close()
        return code

    def _leader_is_gone(self) -> bool:
        ready, _, _ = select.select([self._leader], [], [], 0.0)
        return bool(ready)  # it says nothing more: what can be read is the end of the connection


_ENDED_WELL = (EXIT_DONE, EXIT_PREEMPTED, EXIT_INTERRUPTED)


def _listening(place: Place) -> socket.socket:
    """A server on the first port that is free."""
    for port in _ports(place):
        with contextlib.suppress(OSError):
            return socket.create_server(("", port))
    ports = _ports(place)
    raise CptError(f"no port from {ports[0]} to {ports[-1]} is free on node 0")


def _connect(place: Place, run: str) -> socket.socket:
    """The connection to node 0 of this run, wherever it listens; as often as it takes."""
    deadline = time.monotonic() + GATHER_S
    while True:
        for port in _ports(place):
            if (connection := _introduced(place, port, run)) is not None:
                return connection
        if time.monotonic() > deadline:
            raise CptError(f"node 0 ({place.host}, ports {_ports(place)[0]} and on) cannot be reached")
        time.sleep(0.5)


def _introduced(place: Place, port: int, run: str) -> socket.socket | None:
    """A connection to a port of node 0, if it is this run's leader who answers there."""
    connection: socket.socket | None = None
    with contextlib.suppress(OSError):
        connection = socket.create_connection((place.host, port), timeout=ANSWER_S)
        _send(connection, {"node": place.node, "run": run})
        if (_receive(connection) or {}).get("run") == run:
            connection.settimeout(None)
            _keep_alive(connection)
            return connection
    if connection is not None:
        connection.close()
    return None


def _ports(place: Place) -> range:
    assert place.port is not None
    return range(place.port, place.port + PORTS)


def _keep_alive(connection: socket.socket) -> None:
    """Has the kernel end the connection within two minutes after the other machine has fallen silent (Linux)."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (("TCP_KEEPIDLE", 30), ("TCP_KEEPINTVL", 15), ("TCP_KEEPCNT", 6)):
        if hasattr(socket, name):
            connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


def _send(connection: socket.socket, message: dict[str, Any]) -> None:
    connection.sendall(json.dumps(message).encode() + b"\n")


def _receive(connection: socket.socket) -> dict[str, Any] | None:
    """The next line; None at the end of the connection."""
    data = b""
    with contextlib.suppress(OSError):
        while not data.endswith(b"\n") and len(data) < 1 << 16 and (piece := connection.recv(1)):
            data += piece
    try:
        message = json.loads(data)
    except ValueError:
        return None
    return message if isinstance(message, dict) else None
