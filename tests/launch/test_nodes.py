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
node, nodes, port, code, run, *argv = sys.argv[1:]
processes = Processes(1, Place(int(node), int(nodes), "127.0.0.1", int(port)))
if int(node):
    follower = Follower(processes, run)
    word = follower.hear()
    print(json.dumps(word and word["step"]), flush=True)
    sys.exit(follower.run(argv) if code == "run" else 0)
leader = Leader(processes, run)
with leader.gathered():
    sys.exit(leader.run(argv, {"step": 7}) if code == "run" else int(code))
"""


def free_port() -> int:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        return int(unused.getsockname()[1])


def start(node: int, port: int, does: str, code: str = "run", total: int = 2, run: str = "run") -> subprocess.Popen[str]:
    argv = [sys.executable, "-c", NODE, str(node), str(total), str(port), code, run, sys.executable, "-c", does]
    return subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)


def test_every_node_runs_and_hears_the_leaders_word() -> None:
    port = free_port()
    started = [start(node, port, "import os; print(os.environ['RANK'], os.environ['WORLD_SIZE'])", total=3) for node in (2, 1, 0)]
    outputs = [process.communicate(timeout=30)[0].splitlines() for process in started]
    assert [process.returncode for process in started] == [0, 0, 0]
    assert outputs == [["7", "2 3"], ["7", "1 3"], ["0 3"]]


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
    assert json.loads(follower.stdout.readline()) == 7
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
    leader = Leader(Processes(1, Place(0, 3, "127.0.0.1", free_port())), "run")
    with pytest.raises(CptError, match="node 1 of 3 did not come"), leader.gathered():
        pass


def test_a_leader_that_cannot_be_reached_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nodes, "GATHER_S", 0.0)
    with pytest.raises(CptError, match=r"node 0 \(127.0.0.1, ports \d+ and on\) cannot be reached"):
        Follower(Processes(1, Place(1, 2, "127.0.0.1", free_port())), "run")


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


def test_ports_of_others_are_passed_over_and_each_run_keeps_to_itself() -> None:
    """Whoever listens there: a program that says nothing, and another run whose nodes were told the same port."""
    with socket.create_server(("", 0)) as silent:
        port = silent.getsockname()[1]
        started = [start(node, port, f"print({run!r})", run=run) for run in ("a", "b") for node in (1, 0)]
        outputs = [process.communicate(timeout=60)[0].split() for process in started]
    assert [process.returncode for process in started] == [0] * 4
    assert [output[-1] for output in outputs] == ["a", "a", "b", "b"]


def test_nothing_is_kept_open(tmp_path: Path) -> None:
    port = free_port()
    for _ in range(2):  # the same port again
        started = [start(node, port, "pass") for node in (0, 1)]
        for process in started:
            process.communicate(timeout=30)
        assert [process.returncode for process in started] == [0, 0]
