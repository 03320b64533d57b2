"""Processes of a task start together, hear signals, end together, and never outlive the command that started them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from cpt.errors import CptError
from cpt.launch.processes import Place, Processes, _Group

WORKER = """
import json, os, signal, sys, time
from pathlib import Path
folder, rank = Path(sys.argv[1]), os.environ["RANK"]
heard, stops = [], (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)
for number in stops:
    signal.signal(number, lambda number, frame: heard.append(number))
signal.pthread_sigmask(signal.SIG_UNBLOCK, stops)
(folder / f"pid-{rank}").write_text(str(os.getpid()))
started = time.monotonic()
while not heard and time.monotonic() - started < 60:
    time.sleep(0.02)
time.sleep(0.3)
(folder / f"heard-{rank}").write_text(json.dumps(heard))
sys.exit({signal.SIGINT: 130}.get(heard[0], 75))
"""
COMMAND = """
import sys
from cpt.launch.processes import Processes
processes, *argv = sys.argv[1:]
sys.exit(Processes(int(processes)).run(argv))
"""


def run(folder: Path, code: str, processes: int = 1) -> int:
    return Processes(processes, env={"GREETING": "hello"}).run((sys.executable, "-c", code, str(folder)))


def until(claim: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not claim():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def start(folder: Path, processes: int, worker: str = WORKER) -> tuple[subprocess.Popen[bytes], list[int]]:
    """A command with its workers, once they are all at work, and their process ids."""
    argv = [sys.executable, "-c", COMMAND, str(processes), sys.executable, "-c", worker, str(folder)]
    command = subprocess.Popen(argv, start_new_session=True)
    files = [folder / f"pid-{rank}" for rank in range(processes)]
    until(lambda: all(file.exists() and file.read_text() for file in files))
    return command, [int(file.read_text()) for file in files]


def test_each_process_knows_its_place(tmp_path: Path) -> None:
    code = "import json, os, sys; open(f'{sys.argv[1]}/{os.environ[\"RANK\"]}', 'w').write(json.dumps(dict(os.environ)))"
    assert run(tmp_path, code, processes=3) == 0
    places = [json.loads((tmp_path / str(rank)).read_text()) for rank in range(3)]
    assert [(place["RANK"], place["LOCAL_RANK"], place["WORLD_SIZE"], place["LOCAL_WORLD_SIZE"]) for place in places] == [
        (str(rank), str(rank), "3", "3") for rank in range(3)
    ]
    assert {place["GREETING"] for place in places} == {"hello"}
    assert len({(place["MASTER_ADDR"], place["MASTER_PORT"]) for place in places}) == 1
    assert all(int(place["OMP_NUM_THREADS"]) >= 1 for place in places)


@pytest.mark.parametrize("code", [0, 1, 2, 75, 93, 130])
def test_the_exit_code_is_the_processes_own(tmp_path: Path, code: int) -> None:
    assert run(tmp_path, f"raise SystemExit({code})", processes=2) == code


def test_the_first_failure_is_the_tasks_and_takes_the_others_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cpt.launch.processes.GRACE_S", 0.2)
    started = time.monotonic()
    assert run(tmp_path, "import os, sys, time; time.sleep(60) if os.environ['RANK'] == '0' else sys.exit(2)", processes=2) == 2
    assert time.monotonic() - started < 20


def test_a_process_that_the_system_killed_is_named(tmp_path: Path) -> None:
    with pytest.raises(CptError, match=r"process 0 was ended by SIGKILL; .*memory"):
        run(tmp_path, "import os, signal; os.kill(os.getpid(), signal.SIGKILL)")


def test_the_ranks_of_a_node_follow_those_of_the_nodes_before_it(tmp_path: Path) -> None:
    code = "import json, os, sys; open(f'{sys.argv[1]}/{os.environ[\"RANK\"]}', 'w').write(json.dumps(dict(os.environ)))"
    assert Processes(2, Place(1, 3, "head", 29500)).run((sys.executable, "-c", code, str(tmp_path))) == 0
    places = [json.loads((tmp_path / rank).read_text()) for rank in ("2", "3")]
    assert [(place["LOCAL_RANK"], place["WORLD_SIZE"], place["GROUP_RANK"]) for place in places] == [("0", "6", "1"), ("1", "6", "1")]
    assert {(place["MASTER_ADDR"], place["MASTER_PORT"]) for place in places} == {("head", "29500")}


def test_each_ranks_output_goes_to_a_file_of_its_own_where_a_folder_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CPT_RANK_LOGS", str(tmp_path / "logs"))
    for _ in range(2):
        run(tmp_path, "import os; print('hello from', os.environ['RANK'])", processes=2)
    assert (tmp_path / "logs" / "rank-1.log").read_text() == "hello from 1\n" * 2


def test_processes_that_another_node_has_abandoned_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cpt.launch.processes.GRACE_S", 0.2)
    assert Processes(2).run((sys.executable, "-c", "import time; time.sleep(60)"), abandoned=lambda: True) == 1


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 75), (signal.SIGUSR1, 75)])
def test_a_signal_reaches_every_process_once(tmp_path: Path, number: signal.Signals, code: int) -> None:
    command, _ = start(tmp_path, 2)
    os.killpg(command.pid, number)  # as a terminal or a scheduler sends it: to the whole group
    if number != signal.SIGINT:
        os.killpg(command.pid, number)
    assert command.wait(20) == code
    assert [json.loads((tmp_path / f"heard-{rank}").read_text()) for rank in range(2)] == [[number]] * 2


def test_a_second_ctrl_c_kills_at_once(tmp_path: Path) -> None:
    command, pids = start(tmp_path, 2, WORKER.replace("time.sleep(0.3)", "time.sleep(60)"))
    command.send_signal(signal.SIGINT)
    time.sleep(0.3)
    assert command.poll() is None
    command.send_signal(signal.SIGINT)
    assert command.wait(20) == 130
    assert not any(map(alive, pids))


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 75)])
def test_a_signal_that_comes_too_early_is_heard_once_the_process_listens(tmp_path: Path, number: signal.Signals, code: int) -> None:
    early = """
import os, sys, time
open(f"{sys.argv[1]}/pid-{os.environ['RANK']}", "w").write(str(os.getpid()))
time.sleep(0.5)
from cpt.launch.child import end_on_signals
open(f"{sys.argv[1]}/imported-{os.environ['RANK']}", "w").close()
end_on_signals()
time.sleep(60)
"""
    command, _ = start(tmp_path, 2, early)
    command.send_signal(number)
    assert command.wait(20) == code
    assert len(list(tmp_path.glob("imported-*"))) == 2


def test_a_process_that_listens_and_does_not_catch_stops_as_the_signal_asks(tmp_path: Path) -> None:
    command, _ = start(tmp_path, 2, "import signal\n" + WORKER.replace("lambda number, frame: heard.append(number)", "signal.SIG_DFL"))
    command.send_signal(signal.SIGUSR1)
    assert command.wait(20) == 75


@pytest.mark.skipif(sys.platform != "linux", reason="the parent-death signal is Linux's")
@pytest.mark.parametrize("processes", [1, 2])
def test_no_process_outlives_a_command_that_is_killed(tmp_path: Path, processes: int) -> None:
    command, pids = start(tmp_path, processes)
    assert all(map(alive, pids))
    command.kill()
    command.wait()
    until(lambda: not any(map(alive, pids)))


@pytest.mark.skipif(sys.platform != "linux", reason="the parent-death signal is Linux's")
def test_a_process_whose_parent_is_gone_before_it_asks_ends_too(tmp_path: Path) -> None:
    stranger = subprocess.run([sys.executable, "-m", "cpt.launch.child", "1", "touch", str(tmp_path / "ran")], check=False)
    assert stranger.returncode == 75
    assert not (tmp_path / "ran").exists()


def test_a_signal_that_comes_while_processes_are_started_reaches_them(tmp_path: Path) -> None:
    listens = "import signal, time; signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM}); time.sleep(60)"
    group = _Group()
    try:
        with group.receiving_signals():
            os.kill(os.getpid(), signal.SIGTERM)
            group.start(Processes(2), (sys.executable, "-c", listens))
            assert group.wait(lambda: False) == 75
    finally:
        group.kill()
