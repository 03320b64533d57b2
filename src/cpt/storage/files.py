"""Files at locations: read, written whole, listed, expanded, fetched, published and removed; local and remote alike."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from cpt.errors import Fault, StorageError
from cpt.storage.location import base_name, check_location, is_url, join, local_path
from cpt.storage.remote import open_filesystem, reported
from cpt.storage.scratch import fsync_folder, put_in_place, scratch_beside

MARKER = "files.json"
"""The file that makes a folder committed: size and SHA-256 of every other file in it; written last."""


def exists(location: str) -> bool:
    """Whether a file or folder stands at `location`."""
    with reported(location):
        if not is_url(location):
            return local_path(location).exists()
        filesystem, path = open_filesystem(location)
        return bool(filesystem.exists(path))


@contextmanager
def open_binary(location: str) -> Iterator[BinaryIO]:
    """Opens a file for reading; what goes wrong while reading is reported as it is at opening.

    Raises:
        StorageError: It is not there, or cannot be read.
    """
    if not is_url(location):
        with reported(location):
            file = local_path(location).open("rb")
        with file:
            yield file
        return
    with reported(location):
        filesystem, path = open_filesystem(location)
        with filesystem.open(path, "rb") as remote_file:
            yield remote_file


def read_bytes(location: str, limit: int | None = None) -> bytes:
    """The content of a file.

    Args:
        location: A path or URL.
        limit: Largest size in bytes that is read; null: any.

    Raises:
        StorageError: It is not there, cannot be read, or is larger than `limit`.
    """
    with reported(location):
        if limit is not None and _size_bytes(location) > limit:
            raise StorageError(Fault(location, "", f"is larger than {limit:,} bytes", "check that this is the right file"))
        if not is_url(location):
            return local_path(location).read_bytes()
        filesystem, path = open_filesystem(location)
        return bytes(filesystem.cat_file(path))  # one request: what is being replaced is read as it was, or as it will be


def _size_bytes(location: str) -> int:
    if not is_url(location):
        return local_path(location).stat().st_size
    filesystem, path = open_filesystem(location)
    return int(filesystem.info(path)["size"])


def write_bytes(location: str, data: bytes) -> None:
    """Writes a file by one atomic act: a rename after fsync, or one PUT. Folders on the way are made.

    Raises:
        StorageError: It cannot be written.
    """
    with reported(location):
        if is_url(location):
            filesystem, path = open_filesystem(location)
            filesystem.pipe_file(path, data)
            return
        target = local_path(location)
        with scratch_beside(target) as scratch:
            temporary = scratch / target.name
            with temporary.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            put_in_place(temporary, target)


def list_names(location: str) -> list[str]:
    """The names in a folder, sorted; none where there is no folder."""
    with reported(location):
        if not is_url(location):
            folder = local_path(location)
            return sorted(entry.name for entry in folder.iterdir()) if folder.is_dir() else []
        filesystem, path = open_filesystem(location)
        try:
            found = filesystem.ls(path, detail=False)
        except FileNotFoundError:
            return []
        return sorted({base_name(name) for name in found if name.rstrip("/") != path})


def expand(locations: str | Sequence[str], where: str) -> list[str]:
    """The files that locations stand for: each file once, sorted.

    Args:
        locations: Files, globs, or folders (each stands for its `*.jsonl`).
        where: The key that holds them.

    Raises:
        StorageError: Every location that is refused, or stands for no file.
    """
    faults: list[Fault] = []
    files: set[str] = set()
    for location in [locations] if isinstance(locations, str) else locations:
        try:
            check_location(location, where)
            with reported(location):
                found = _expand_url(location) if is_url(location) else _expand_path(location)
        except StorageError as error:
            faults += error.faults
            continue
        if not found:
            faults.append(Fault(where, location, "no such file, nor any .jsonl file in such a folder", "check the path"))
        files.update(found)
    if faults:
        raise StorageError(*faults)
    return sorted(files)


def _expand_path(location: str) -> list[str]:
    path = local_path(location)
    if path.is_dir():
        return [str(file) for file in path.glob("*.jsonl") if file.is_file()]
    if path.exists():
        return [str(path)]
    anchor, pattern = (Path(path.anchor), str(path.relative_to(path.anchor))) if path.anchor else (Path(), str(path))
    return [str(file) for file in anchor.glob(pattern) if file.is_file()] if pattern != "." else []


def _expand_url(location: str) -> list[str]:
    filesystem, path = open_filesystem(location)
    scheme = location.split("://", 1)[0]
    if filesystem.isfile(path):
        return [location]
    pattern = path if any(character in path for character in "*?[") else f"{path}/*.jsonl"
    found = filesystem.glob(pattern, detail=True)
    if not found and not filesystem.exists(bucket := path.split("/", 1)[0]):
        raise FileNotFoundError(f"The specified bucket does not exist: {bucket}")
    return [f"{scheme}://{name}" for name, info in found.items() if info["type"] == "file"]


def fetch(location: str, folder: Path) -> Path:
    """A local copy of a file or folder; a local location is returned as it is.

    Args:
        location: A path or URL.
        folder: Where copies are kept; a copy is made anew only when what stands at the URL has changed.

    Raises:
        StorageError: It is not there, or what arrived is not what was announced.
    """
    if not is_url(location):
        if not exists(location):
            raise StorageError(Fault(location, "", "does not exist", "check the path"))
        return local_path(location)
    with reported(location):
        sizes = _remote_sizes(location)
        filesystem, _ = open_filesystem(location)
        version = hashlib.sha256("\n".join([location, *(filesystem.ukey(path) for path in sorted(sizes))]).encode())
    target = folder / version.hexdigest()[:16] / base_name(location)
    if not target.exists():
        download(location, target)
    return target


def download(location: str, target: Path) -> None:
    """Copies a file or folder from a URL to a local path, which appears only when it is whole.

    Raises:
        StorageError: It is not there, or what arrived is not of the announced size.
    """
    with reported(location):
        filesystem, root = open_filesystem(location)
        sizes = _remote_sizes(location)
        with scratch_beside(target) as scratch:
            content = scratch / target.name
            for path, size_bytes in sizes.items():
                file = content / path.removeprefix(root).lstrip("/") if path != root else content
                file.parent.mkdir(parents=True, exist_ok=True)
                filesystem.get_file(path, str(file))
                _check_size(f"{location} ({path})", file.stat().st_size, size_bytes)
            put_in_place(content, target)


def _remote_sizes(location: str) -> dict[str, int]:
    """Size in bytes of each file at or under a URL, by its path within the file system."""
    filesystem, path = open_filesystem(location)
    found = filesystem.find(path, detail=True)
    if not found:
        raise FileNotFoundError(location)
    return {name: int(info["size"]) for name, info in found.items() if not name.endswith("/")}


def size_bytes(location: str) -> int:
    """Bytes of the file at `location`."""
    if is_url(location):
        return sum(_remote_sizes(location).values())
    with reported(location):
        return local_path(location).stat().st_size


def _check_size(where: str, found_bytes: int, expected_bytes: int) -> None:
    if found_bytes != expected_bytes:
        raise StorageError(Fault(where, f"{found_bytes:,} bytes", f"{expected_bytes:,} bytes were to arrive", "try again"))


def publish_file(path: Path, location: str) -> None:
    """Copies a local file to a path or URL, and verifies what arrived.

    Raises:
        StorageError: It cannot be written, or is not whole.
    """
    with reported(location):
        if is_url(location):
            filesystem, remote_path = open_filesystem(location)
            size_bytes = path.stat().st_size
            filesystem.put_file(str(path), remote_path)
            _check_size(location, _size_bytes(location), size_bytes)
            return
        target = local_path(location)
        with scratch_beside(target) as scratch:
            shutil.copyfile(path, scratch / target.name)
            put_in_place(scratch / target.name, target)


def publish_folder(folder: Path, location: str) -> None:
    """Copies a local folder to a path or URL in place of what is there; the marker of a committed folder goes last.

    Raises:
        StorageError: It cannot be written, or is not whole.
    """
    remove(location)
    names = (file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file())
    for name in sorted(names, key=lambda name: (name == MARKER, name)):
        publish_file(folder / name, join(location, name))


def remove(location: str) -> None:
    """Removes a file or folder, if there; a committed folder loses its marker first, and is then no longer one."""
    with reported(location):
        if is_url(location):
            _remove_remote(location)
            return
        path = local_path(location)
        if path.is_dir() and not path.is_symlink():
            (path / MARKER).unlink(missing_ok=True)
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
        if path.parent.is_dir():
            fsync_folder(path.parent)


def _remove_remote(location: str) -> None:
    filesystem, path = open_filesystem(location)
    marker = f"{path}/{MARKER}"
    found: Iterable[str] = filesystem.find(path)
    for name in sorted(found, key=lambda name: name != marker):
        filesystem.rm_file(name)


def sha256_file(path: Path) -> str:
    """SHA-256 (hex) of a local file's content.

    Raises:
        StorageError: It cannot be read.
    """
    with open_binary(str(path)) as file, reported(str(path)):
        return hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]  # typeshed asks for readinto
