"""One writer a run: a lock on a local file, or an object that its holder keeps fresh.

Local leases end with their process, however it ends. A remote one is an object written on condition that nobody else has (S3's
`If-None-Match` and `If-Match`), rewritten every `REFRESH_S`; it may be taken over once it has been silent for `STALE_S` by the
storage's own clock, or once its holder, if it ran on this machine, is no more.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from cpt.errors import Fault, StorageError
from cpt.storage.location import is_url, join, local_path
from cpt.storage.remote import open_filesystem, reported

NAME = "lease.json"
REFRESH_S = 30.0
STALE_S = 180.0


class _HeldError(StorageError):
    """Another writer holds the lease."""


class Lease:
    """The right to write to a run, while it is held."""

    def __init__(self) -> None:
        self.lost = threading.Event()
        """Set when another writer has taken over: nothing more may be written."""


@contextmanager
def lease(location: str, wait_s: float = 0.0) -> Iterator[Lease]:
    """Holds the lease of the run at `location` until the block ends.

    Args:
        location: The run.
        wait_s: Seconds to wait for another writer that holds it.

    Raises:
        StorageError: Another writer holds it; the fault names that writer.
    """
    with contextlib.ExitStack() as stack:
        yield _taken(stack, location, time.monotonic() + wait_s)


def _taken(stack: contextlib.ExitStack, location: str, deadline: float) -> Lease:
    while True:
        try:
            return stack.enter_context(_remote_lease(location) if is_url(location) else _local_lease(local_path(location)))
        except _HeldError:
            if time.monotonic() >= deadline:
                raise
        time.sleep(0.5)


@contextmanager
def _local_lease(folder: Path) -> Iterator[Lease]:
    path = folder / NAME
    with reported(str(path)):
        folder.mkdir(parents=True, exist_ok=True)
        file = path.open("a+")
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise _HeldError(_refusal(str(folder), _holder_in(file))) from None
        except OSError as error:
            cure = "name a folder on a file system with locks"
            raise StorageError(Fault(str(folder), "", f"cannot be locked ({error.strerror})", cure)) from error
        _write_holder(file, json.dumps(_ourselves()))
        yield Lease()
        _write_holder(file, "")


def _holder_in(file: TextIO) -> dict[str, Any]:
    file.seek(0)
    return _parse(file.read())


def _write_holder(file: TextIO, text: str) -> None:
    file.truncate(0)
    file.write(text)
    file.flush()


@contextmanager
def _remote_lease(location: str) -> Iterator[Lease]:
    with reported(location):
        leased = _LeaseObject(join(location, NAME))
        leased.take(location)
    done, held = threading.Event(), Lease()

    def refresh() -> None:
        while not done.wait(REFRESH_S) and not held.lost.is_set():
            with contextlib.suppress(StorageError, OSError):  # the network may come back before the lease is stale
                if not leased.rewrite():
                    held.lost.set()

    keeper = threading.Thread(target=refresh, name="cpt-lease", daemon=True)
    keeper.start()
    try:
        yield held
    finally:
        done.set()
        keeper.join(timeout=10)
        if not held.lost.is_set():
            leased.drop()


class _LeaseObject:
    """The object at a URL, and the version of it that is ours."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.filesystem, self.path = open_filesystem(url)
        self.conditional = url.startswith("s3://")
        self.version: str | None = None

    def take(self, location: str) -> None:
        """Writes the object if there is none, or a dead one.

        Raises:
            StorageError: Its holder lives.
        """
        if not self.filesystem.exists(self.path) and self._put(IfNoneMatch="*"):
            return
        info = self.filesystem.info(self.path)
        holder = _parse(self.filesystem.cat_file(self.path).decode())
        if _is_dead(holder) or self._silence_s() > STALE_S:
            if self._put(IfMatch=info.get("ETag")):
                return
            holder = _parse(self.filesystem.cat_file(self.path).decode())
        raise _HeldError(_refusal(location, holder))

    def rewrite(self) -> bool:
        """Keeps the object fresh; false when it is no longer ours."""
        return self._put(IfMatch=self.version)

    def drop(self) -> None:
        """Removes the object, if it can be reached."""
        with contextlib.suppress(StorageError, OSError), reported(self.url):
            self.filesystem.rm_file(self.path)

    def _put(self, **condition: str | None) -> bool:
        """One PUT; false when the condition does not hold."""
        data = json.dumps({**_ourselves(), "refreshed": time.time()}).encode()
        try:
            written = self.filesystem.pipe_file(self.path, data, **(condition if self.conditional else {}))
        except OSError as error:
            if "PreconditionFailed" in _code(error) or "ConditionalRequestConflict" in _code(error) or isinstance(error, FileNotFoundError):
                return False
            raise
        self.version = written.get("ETag") if isinstance(written, dict) else None
        return True

    def _silence_s(self) -> float:
        """Seconds since the object was written, by the storage's own clock: a probe written now tells its time."""
        probe = f"{self.path}.probe-{os.getpid()}"
        self.filesystem.pipe_file(probe, b"now")
        now = self.filesystem.modified(probe)
        self.filesystem.rm_file(probe)
        return float((now - self.filesystem.modified(self.path)).total_seconds())


def _code(error: OSError) -> str:
    response = getattr(error.__cause__, "response", {})
    return f"{response.get('Error', {}).get('Code', '')} {error}"


def _ourselves() -> dict[str, Any]:
    pid = os.getpid()
    return {"host": socket.gethostname(), "pid": pid, "started": _start_time(pid), "since": time.strftime("%Y-%m-%d %H:%M:%S")}


def _is_dead(holder: dict[str, Any]) -> bool:
    """Whether the holder certainly no longer runs: it ran on this machine, and its process is gone."""
    return holder.get("host") == socket.gethostname() and _start_time(int(holder.get("pid", 0))) != holder.get("started")


def _start_time(pid: int) -> str | None:
    """When a process started, in the system's own ticks since boot, with the boot's id; null when there is none."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot}/{Path(f'/proc/{pid}/stat').read_text().rsplit(')', 1)[1].split()[19]}"
    except OSError:
        return None


def _parse(text: str) -> dict[str, Any]:
    try:
        holder = json.loads(text)
    except ValueError:
        return {}
    return holder if isinstance(holder, dict) else {}


def _refusal(location: str, holder: dict[str, Any]) -> Fault:
    process = f"process {holder.get('pid', 'unknown')} on {holder.get('host', 'an unknown machine')}"
    rule = f"is being written by {process} since {holder.get('since', 'an unknown time')}; a run has one writer"
    return Fault(location, "", rule, "wait for it to end, or stop it")
