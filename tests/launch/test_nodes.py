"""Nodes of a job begin together, hear from node 0 where to go on from, and none works on once another has failed."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cpt.errors import CptError, ResourceError
from cpt.launch import nodes
from cpt.launch.nodes import Follower, Leader, this_place
from cpt.launch.processes import Place, Processes

NODE = """
import json, sys
from cpt.launch import processes as ranks
from cpt.launch.nodes import Follower, Leader
from cpt.launch.processes import Place, Processes
ranks.GRACE_S = 1.0
node, nodes, port, code, *argv = sys.argv[1:]
processes = Processes(1, Place(int(node), int(nodes), "127.0.0.1", int(port)))
if int(node):
    follower = Follower(processes)
    print(json.dumps(follower.hear()), flush=True)
    sys.exit(follower.run(argv) if code == "run" else 0)
leader = Leader(processes)
with leader.gathered():
    sys.exit(leader.run(argv, {"step": 7}) if code == "run" else int(code))
"""


def free_port() -> int:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        return int(unused.getsockname()[1])


def start(node: int, port: int, does: str, code: str = "run", total: int = 2) -> subprocess.Popen[str]:
    argv = [sys.executable, "-c", NODE, str(node), str(total), str(port), code, sys.executable, "-c", does]
    return subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)


def test_every_node_runs_and_hears_the_leaders_word() -> None:
    port = free_port()
    started = [start(node, port, "import os; print(os.environ['RANK'], os.environ['WORLD_SIZE'])", total=3) for node in (2, 1, 0)]
    outputs = [process.communicate(timeout=30)[0].splitlines() for process in started]
    assert [process.returncode for process in started] == [0, 0, 0]
    assert outputs == [['{"step": 7}', "2 3"], ['{"step": 7}', "1 3"], ["0 3"]]


@pytest.mark.parametrize("failing", [0, 1])
def test_a_node_that_fails_takes_the_others_with_it_and_its_code_is_the_jobs(failing: int, monkeypatch: pytest.MonkeyPatch) -> None:
    port = free_port()
    does = ["import sys; sys.exit(2)" if node == failing else "import time; time.sleep(60)" for node in range(2)]
    began = time.monotonic()
    leader, follower = start(0, port, does[0]), start(1, port, does[1])
    assert leader.wait(50) == 2
    assert follower.wait(50) != 0
    assert time.monotonic() - began < 20
    for process in (leader, follower):
        process.communicate()


def test_a_node_that_is_killed_ends_the_job() -> None:
    port = free_port()
    leader, follower = start(0, port, "import time; time.sleep(60)"), start(1, port, "import time; time.sleep(60)")
    assert follower.stdout is not None
    assert json.loads(follower.stdout.readline()) == {"step": 7}
    follower.kill()
    assert leader.wait(30) == 1
    for process in (leader, follower):
        process.communicate()


def test_followers_of_a_leader_with_nothing_to_do_are_let_go() -> None:
    port = free_port()
    leader, follower = start(0, port, "", code="0"), start(1, port, "", code="none")
    assert follower.communicate(timeout=30)[0] == "null\n"
    leader.communicate(timeout=30)
    assert (leader.returncode, follower.returncode) == (0, 0)


def test_a_node_that_never_comes_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nodes, "GATHER_S", 0.0)
    with pytest.raises(CptError, match="node 1 of 3 did not come"), Leader(Processes(1, Place(0, 3, "127.0.0.1", free_port()))).gathered():
        pass


def test_a_leader_that_cannot_be_reached_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nodes, "GATHER_S", 0.0)
    with pytest.raises(CptError, match=r"node 0 \(127.0.0.1:\d+\) cannot be reached"):
        Follower(Processes(1, Place(1, 2, "127.0.0.1", free_port())))


def test_a_place_is_read_from_what_the_launcher_set(monkeypatch: pytest.MonkeyPatch) -> None:
    assert this_place(1) == Place()
    monkeypatch.setenv("MASTER_ADDR", "head")
    monkeypatch.setenv("MASTER_PORT", "x")
    monkeypatch.delenv("NODE_RANK", raising=False)
    with pytest.raises(ResourceError) as error:
        this_place(2)
    assert [fault.where for fault in error.value.faults] == ["NODE_RANK", "MASTER_PORT"]
    monkeypatch.setenv("NODE_RANK", "1")
    monkeypatch.setenv("MASTER_PORT", "29500")
    assert this_place(2) == Place(1, 2, "head", 29500)


def test_nothing_is_kept_open(tmp_path: Path) -> None:
    port = free_port()
    for _ in range(2):  # the same port again
        started = [start(node, port, "pass") for node in (0, 1)]
        for process in started:
            process.communicate(timeout=30)
        assert [process.returncode for process in started] == [0, 0]
