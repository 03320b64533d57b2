"""Where runs and stores go: whether it can be written, read back and locked, and how fast."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from cpt import storage
from cpt.console import quantity
from cpt.data.prepare import store_root
from cpt.doctor.finding import Finding, Level
from cpt.errors import Fault, StorageError
from cpt.recipe.schema import Recipe

GB, MB = 1e9, 1e6
PIECE_BYTES, PIECES = 16 * 2**20, 4
"""What is written to a disk: 64 MB, a quarter at a time."""
WRITING_S = 2.0
"""Seconds after which no further piece is written."""
OBJECT_BYTES = 2**16
"""What is written to a URL."""
SLOW_MB_PER_S = 50.0
CHECKPOINT_BYTES = 12
"""A parameter: fp32 weight and the two moments of Adam."""


def output(recipe: Recipe) -> Iterator[Finding]:
    """`run.output`: access, speed, and room for the run's checkpoints."""
    parameters = recipe.model.architecture.parameters if recipe.model.architecture else 0
    checkpoint_gb = CHECKPOINT_BYTES * parameters / GB
    yield _place("run.output", recipe.run.output, checkpoint_gb, kept=recipe.checkpoint.keep + 2)  # the best, and the one being written


def store(recipe: Recipe) -> Iterator[Finding]:
    """`data.store`: access and speed."""
    yield _place("data.store", store_root(recipe.data.store), 0.0, kept=0)


def lock(recipe: Recipe) -> Iterator[Finding]:
    """Whether a run's lease can be taken in `run.output`, and keeps a second writer out."""
    location = recipe.run.output
    with _trial_place(location, "run.output") as place, storage.lease(place):
        try:
            with storage.lease(place):
                cure = "name a run.output on a file system with locks"
                yield Finding("lease", f"{location}: two writers can take the same run", Level.PROBLEM, cure)
        except StorageError:
            yield Finding("lease", f"{location}: one writer at a time")


def _place(subject: str, location: str, checkpoint_gb: float, kept: int) -> Finding:
    with _trial_place(location, subject) as place:
        if storage.is_url(location):
            return _remote(subject, location, place)
        write, read = _disk_speed(Path(place, "sample"))
        free_gb = shutil.disk_usage(place).free / GB
    text = f"{location}: writes {write:,.0f} MB/s, reads {read:,.0f} MB/s · {free_gb:,.0f} GB free"
    if checkpoint_gb:
        text += f" · a checkpoint of {quantity(checkpoint_gb * GB)}B takes about {max(0.1, checkpoint_gb * GB / MB / write):,.1f} s"
    figures = {"write_mb_per_s": write, "read_mb_per_s": read, "free_gb": free_gb, "checkpoint_gb": checkpoint_gb}
    level, cure = Level.OK, ""
    if free_gb < checkpoint_gb * kept:
        cure = f"{kept} checkpoints need {checkpoint_gb * kept:,.1f} GB: free some, or lower checkpoint.keep"
        level = Level.PROBLEM
    elif write < SLOW_MB_PER_S:
        level, cure = Level.WARNING, f"it is slow: name a faster disk with {subject}=FOLDER"
    return Finding(subject, text, level, cure, figures)


def _disk_speed(file: Path) -> tuple[float, float]:
    """MB/s written, each piece on the disk before the next (fsync), and read back once the system was asked to forget what it holds.

    Raises:
        StorageError: What was read is not what was written.
    """
    piece = os.urandom(PIECE_BYTES)  # no file system makes it smaller
    started, pieces = time.perf_counter(), 0
    with file.open("wb") as target:
        while pieces < PIECES and (pieces == 0 or time.perf_counter() - started < WRITING_S):
            target.write(piece)
            target.flush()
            os.fsync(target.fileno())
            pieces += 1
        written_s = time.perf_counter() - started
        if hasattr(os, "posix_fadvise"):
            os.posix_fadvise(target.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    started = time.perf_counter()
    with file.open("rb") as source:
        same = all(source.read(PIECE_BYTES) == piece for _ in range(pieces))
    read_s = time.perf_counter() - started
    if not same:
        raise StorageError(Fault(str(file.parent), "", "gives back other bytes than were written", "do not trust this disk"))
    megabytes = pieces * PIECE_BYTES / MB
    return megabytes / written_s, megabytes / read_s


def _remote(subject: str, location: str, place: str) -> Finding:
    """A small object put, got, listed and deleted, each timed."""
    probe, data = storage.join(place, "probe"), os.urandom(OBJECT_BYTES)
    took: dict[str, float] = {}
    with _timed(took, "put"):
        storage.write_bytes(probe, data)
    with _timed(took, "get"):
        same = storage.read_bytes(probe) == data
    with _timed(took, "list"):
        listed = storage.list_names(place) == ["probe"]
    with _timed(took, "delete"):
        storage.remove(probe)
    gone = not storage.exists(probe)
    text = f"{location}: " + ", ".join(f"{act} {seconds * 1e3:.0f} ms" for act, seconds in took.items()) + f" for {OBJECT_BYTES // 1024} KB"
    figures = {f"{act}_ms": seconds * 1e3 for act, seconds in took.items()}
    if same and listed and gone:
        return Finding(subject, text, figures=figures)
    wrong = "gives back other bytes" if not same else "does not list what was put" if not listed else "still holds what was deleted"
    return Finding(subject, f"{location}: {wrong}", Level.PROBLEM, "check the storage: cpt needs reads that see the last write", figures)


@contextmanager
def _timed(took: dict[str, float], act: str) -> Iterator[None]:
    started = time.perf_counter()
    yield
    took[act] = time.perf_counter() - started


@contextmanager
def _trial_place(location: str, where: str) -> Iterator[str]:
    """A place of its own at `location`, which is made where it is not there; nothing of it stays.

    Raises:
        StorageError: The location is refused, or what was tried there failed: the fault is about the location, not about the trial.
    """
    storage.check_location(location, where)
    try:
        with storage.reported(location), (_trial_url if storage.is_url(location) else _trial_folder)(location) as place:
            yield place
    except StorageError as error:
        raise StorageError.of(replace(fault, where=location) for fault in error.faults) from error


@contextmanager
def _trial_url(location: str) -> Iterator[str]:
    place = storage.join(location, f".cpt-doctor-{secrets.token_hex(4)}")
    try:
        yield place
    finally:
        with contextlib.suppress(StorageError):
            storage.remove(place)


@contextmanager
def _trial_folder(location: str) -> Iterator[str]:
    folder = storage.local_path(location)
    made = [above for above in (folder, *folder.parents) if not above.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".cpt-doctor-", dir=folder) as trial:
            yield trial
    finally:
        for above in made:
            with contextlib.suppress(OSError):
                above.rmdir()
