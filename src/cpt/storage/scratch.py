"""Write beside, then put in place: a hidden folder next to a target, locked while its writer lives, swept when it is dead."""

from __future__ import annotations

import ctypes
import fcntl
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SCRATCH_SUFFIX = ".partial"
_AT_FDCWD, _RENAME_EXCHANGE = -100, 2


def write_private(path: Path, text: str) -> None:
    """Writes a local file for its owner's eyes only."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch(mode=0o600)
    path.chmod(0o600)
    path.write_text(text, encoding="utf-8")


@contextmanager
def scratch_beside(target: Path) -> Iterator[Path]:
    """A new hidden folder on the same file system as `target`; it goes when the block ends, and those of dead writers go now."""
    target.parent.mkdir(parents=True, exist_ok=True)
    _sweep(target)
    folder, lock = _make_locked(target)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


def put_in_place(new: Path, target: Path) -> None:
    """Publishes `new` at `target` by one rename, durably; what stood there is removed."""
    if new.is_dir() and target.exists():
        _exchange(new, target)
        shutil.rmtree(new)
    else:
        new.replace(target)
    fsync_folder(target.parent)


def fsync_folder(folder: Path) -> None:
    """Makes the names in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _make_locked(target: Path) -> tuple[Path, int]:
    while True:
        folder = target.with_name(f".{target.name}.{secrets.token_hex(6)}{SCRATCH_SUFFIX}")
        folder.mkdir()
        lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        _lock(lock)
        if folder.exists():
            return folder, lock
        os.close(lock)  # another writer swept it between mkdir and lock


def _sweep(target: Path) -> None:
    """Removes the scratch folders beside `target` whose writer is gone: nobody holds their lock any more."""
    for entry in os.scandir(target.parent):
        if not (entry.name.startswith(f".{target.name}.") and entry.name.endswith(SCRATCH_SUFFIX) and entry.is_dir(follow_symlinks=False)):
            continue
        try:
            lock = os.open(entry.path, os.O_RDONLY | os.O_DIRECTORY)
        except OSError:
            continue
        if _lock(lock):
            shutil.rmtree(entry.path, ignore_errors=True)
        os.close(lock)


def _lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _exchange(new: Path, target: Path) -> None:
    """Swaps two folders: atomically where the system can (Linux `renameat2`), else by two renames."""
    renameat2 = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if renameat2 and renameat2(_AT_FDCWD, os.fsencode(new), _AT_FDCWD, os.fsencode(target), _RENAME_EXCHANGE) == 0:
        return
    aside = new.with_name(f"{new.name}.replaced")
    target.rename(aside)
    new.rename(target)
    aside.rename(new)
