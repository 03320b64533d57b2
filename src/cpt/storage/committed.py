"""Commit, then trust: a folder is written beside, its files hashed, then published by one atomic act, and verified when read.

A committed folder holds `files.json`: `{name: {"bytes", "sha256"}}` of every other file in it.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from cpt.errors import CheckpointError, Fault
from cpt.storage.files import MARKER, sha256_file
from cpt.storage.remote import reported
from cpt.storage.scratch import put_in_place, scratch_beside
from cpt.storage.version import version

_whole: set[tuple[Path, tuple[tuple[Path, str], ...]]] = set()
"""Folders, and the versions of their files, that this process has found whole."""
_CURE = "delete the folder; what was committed before it is used"


@contextmanager
def committed_folder(target: Path) -> Iterator[Path]:
    """A folder to fill; it becomes `target`, committed, when the block ends well, and goes away when it does not.

    Raises:
        StorageError: It cannot be written.
    """
    with reported(str(target)), scratch_beside(target) as scratch:
        temporary = scratch / target.name
        temporary.mkdir()
        yield temporary
        commit(temporary, target)


def commit(temporary: Path, target: Path) -> str:
    """Publishes a filled folder at `target`, on the same file system, in place of what is there.

    Returns:
        SHA-256 of its `files.json`: the folder's digest.
    """
    with reported(str(target)):
        digest = _seal(temporary)
        put_in_place(temporary, target)
    return digest


def verify_folder(folder: Path) -> str:
    """Reads every file of a committed folder and compares.

    Returns:
        SHA-256 of its `files.json`: the folder's digest.

    Raises:
        CheckpointError: It is not committed, or a file is missing or differs; every one.
    """
    try:
        marker = (folder / MARKER).read_bytes()
        listed = {name: (int(entry["bytes"]), str(entry["sha256"])) for name, entry in json.loads(marker).items()}
    except FileNotFoundError:
        raise CheckpointError(Fault(str(folder), "", f"is not committed: it has no {MARKER}", "name a committed folder")) from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise CheckpointError(Fault(str(folder / MARKER), "", "cannot be read", _CURE)) from None
    faults = [fault for name, (size, sha256) in listed.items() if (fault := _compare(folder, name, size, sha256))]
    if faults:
        raise CheckpointError(*faults)
    return hashlib.sha256(marker).hexdigest()


def is_whole(folder: Path) -> bool:
    """Whether `folder` is committed and every file in it is what was committed; files that have not changed are read once a process."""
    if not (folder / MARKER).is_file():
        return False
    key = (folder, tuple((file, version(str(file))) for file in sorted(folder.rglob("*")) if file.is_file()))
    if key not in _whole:
        try:
            verify_folder(folder)
        except CheckpointError:
            return False
        _whole.add(key)
    return True


def _seal(folder: Path) -> str:
    """Hashes and fsyncs every file, then writes the list."""
    files = sorted(file for file in folder.rglob("*") if file.is_file() and file != folder / MARKER)
    listed = {}
    for file in files:
        _fsync(file)
        listed[file.relative_to(folder).as_posix()] = {"bytes": file.stat().st_size, "sha256": sha256_file(file)}
    marker = json.dumps(listed, indent=1).encode()
    (folder / MARKER).write_bytes(marker)
    for path in {folder / MARKER, folder, *(file.parent for file in files)}:
        _fsync(path)
    return hashlib.sha256(marker).hexdigest()


def _fsync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _compare(folder: Path, name: str, size_bytes: int, sha256: str) -> Fault | None:
    if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
        return Fault(str(folder / MARKER), name, "names a file outside its folder", "do not use this folder")
    file = folder / name
    if not file.is_file():
        return Fault(str(file), "", f"is missing, but listed in {MARKER}", _CURE)
    if file.stat().st_size != size_bytes:
        return Fault(str(file), f"{file.stat().st_size:,} bytes", f"{size_bytes:,} bytes were committed", _CURE)
    if sha256_file(file) != sha256:
        return Fault(str(file), "", "its content is not what was committed (SHA-256 differs)", _CURE)
    return None
