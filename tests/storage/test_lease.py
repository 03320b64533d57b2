"""One writer a run: a second one is refused at once and told who holds it; a dead one is in nobody's way."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from cpt import storage
from cpt.errors import StorageError
from cpt.storage import leases as module

HOLDER = """
import sys, time
from cpt import storage
with storage.lease(sys.argv[1]):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture(params=["local", "s3"])
def run(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return str(tmp_path / "run") if request.param == "local" else f"{request.getfixturevalue('s3')}/run"


@contextmanager
def another_writer(run: str) -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen([sys.executable, "-c", HOLDER, run], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        try:
            yield process
        finally:
            process.kill()


def test_a_second_writer_is_refused_in_seconds_and_told_who_holds_it(run: str) -> None:
    with another_writer(run) as holder:
        started = time.monotonic()
        with pytest.raises(StorageError, match=f"process {holder.pid} on {socket.gethostname()}"), storage.lease(run):
            pass
        assert time.monotonic() - started < 5


def test_a_killed_writer_is_in_nobodys_way(run: str) -> None:
    with another_writer(run) as holder:
        holder.send_signal(signal.SIGKILL)
        holder.wait()
        with storage.lease(run):
            pass


def test_a_lease_that_ended_can_be_taken_again(run: str) -> None:
    for _ in range(2):
        with storage.lease(run):
            pass


def test_a_lease_refuses_its_own_process_too(run: str) -> None:
    with storage.lease(run), pytest.raises(StorageError, match=f"process {os.getpid()}"), storage.lease(run):
        pass


def foreign(s3: str) -> str:
    """A run held from another machine."""
    storage.write_bytes(f"{s3}/run/lease.json", json.dumps({"host": "elsewhere", "pid": 1, "since": "noon"}).encode())
    return f"{s3}/run"


def test_a_silent_holder_elsewhere_is_replaced_only_when_stale(s3: str, monkeypatch: pytest.MonkeyPatch) -> None:
    run = foreign(s3)
    with pytest.raises(StorageError, match="process 1 on elsewhere since noon"), storage.lease(run):
        pass
    monkeypatch.setattr(module, "STALE_S", -1.0)
    with storage.lease(run):
        assert json.loads(storage.read_bytes(f"{run}/lease.json"))["pid"] == os.getpid()
    assert storage.list_names(run) == []


def test_a_holder_keeps_its_lease_fresh_and_learns_that_it_lost_it(s3: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "REFRESH_S", 0.05)
    run = f"{s3}/run"
    with storage.lease(run) as held:
        first = json.loads(storage.read_bytes(f"{run}/lease.json"))["refreshed"]
        assert not held.lost.wait(0.5)
        assert json.loads(storage.read_bytes(f"{run}/lease.json"))["refreshed"] > first
        foreign(s3)
        assert held.lost.wait(10)
    assert json.loads(storage.read_bytes(f"{run}/lease.json"))["host"] == "elsewhere"  # not ours to remove
