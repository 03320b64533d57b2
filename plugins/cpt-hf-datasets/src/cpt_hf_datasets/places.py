"""From locations to files: `datasets` folders, parquet files, globs and folders; local, and URLs through fsspec.

Endpoint and credentials of URLs are the environment's (`AWS_ENDPOINT_URL`, `AWS_PROFILE`, ...), as everywhere in cpt.
"""

from __future__ import annotations

import glob
import json
import os
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from cpt.errors import DataError, Fault
from cpt.recipe.locations import location_fault

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

KEY = "data"
STATE, SPLITS = "state.json", "dataset_dict.json"
TABLES = (".parquet", ".arrow")
_SHARD = re.compile(r"(?P<split>.+)-\d{5}-of-\d{5}")
_SPLIT_NAMES = ("train", "validation", "valid", "val", "dev", "test", "eval")
READ_AHEAD_BYTES = 8 << 20
TICK_S = 0.02
"""Longer than the steps in which file systems tell the time: two changes within one have the same."""


def find_files(locations: Sequence[str], split: str | None) -> list[str]:
    """The table files that `locations` stand for: each once, absolute, sorted.

    Raises:
        DataError: Every location that is refused, is not there, or has no such split.
    """
    files: set[str] = set()
    faults: list[Fault] = []
    for location in locations:
        try:
            files.update(_found(location, split))
        except DataError as error:
            faults += error.faults
    if faults:
        raise DataError.of(faults)
    return sorted(files)


def version(location: str) -> str:
    """What changes when the file does. One that was written just now is waited for, so that no later change goes unseen.

    Raises:
        DataError: It is not there.
    """
    filesystem, path = filesystem_of(location)
    with reported(location):
        if is_url(location):
            return str(filesystem.ukey(path))
        status = Path(path).stat()
        if abs(time.time() - status.st_mtime) < TICK_S:
            time.sleep(TICK_S)
            status = Path(path).stat()
        return f"{status.st_size}-{status.st_mtime_ns}"


def size_bytes(location: str) -> int:
    """Bytes of the file.

    Raises:
        DataError: It is not there.
    """
    filesystem, path = filesystem_of(location)
    with reported(location):
        return int(filesystem.info(path)["size"])


@contextmanager
def open_file(location: str) -> Iterator[Any]:
    """The file, for pyarrow.

    Raises:
        DataError: It is not there, or cannot be read; so does reading it within the block.
    """
    filesystem, path = filesystem_of(location)
    with reported(location), filesystem.open(path, "rb", block_size=READ_AHEAD_BYTES) if is_url(location) else pa.OSFile(path) as file:
        yield file


@contextmanager
def reported(location: str) -> Iterator[None]:
    """Turns what a file system raises into a `DataError` about `location`."""
    try:
        yield
    except DataError:
        raise
    except FileNotFoundError:
        raise DataError(KEY, location, "does not exist", "check the path") from None
    except PermissionError:
        raise DataError(KEY, location, "access is denied", "check its owner and mode, or the credentials in the environment") from None
    except Exception as error:
        if not isinstance(error, OSError) and type(error).__module__.split(".")[0] not in ("botocore", "aiobotocore", "aiohttp"):
            raise
        cure = "check the network, the credentials and AWS_ENDPOINT_URL" if is_url(location) else "write or fetch the file anew"
        raise DataError(KEY, location, f"cannot be read ({error})", cure) from error


def filesystem_of(location: str) -> tuple[AbstractFileSystem, str]:
    """The file system of a location, and the path within it.

    Raises:
        DataError: The location is refused, or a package for its scheme is not installed.
    """
    if fault := location_fault(KEY, location):
        raise DataError(fault)
    if not is_url(location):
        return _filesystem("file", (), 0), str(Path(location.removeprefix("file://")).expanduser().absolute())
    scheme, path = location.split("://", 1)
    environment = tuple(sorted(item for item in os.environ.items() if item[0].startswith("AWS_")))
    try:
        return _filesystem(scheme, environment, os.getpid()), path.rstrip("/")
    except ImportError as error:
        raise DataError(KEY, location, f"{scheme}:// needs a package that is not installed", f"{error}") from None


def is_url(location: str) -> bool:
    """Whether the location is reached by network."""
    return "://" in location and not location.startswith("file://")


@cache
def _filesystem(scheme: str, environment: tuple[tuple[str, str], ...], pid: int) -> AbstractFileSystem:  # noqa: ARG001
    """One a process and environment: a client that was made for another endpoint, or before a fork, is of no use."""
    import fsspec  # noqa: PLC0415  slow, and only needed once there is something to read

    settings: dict[str, Any] = {"config_kwargs": {"connect_timeout": 5, "retries": {"max_attempts": 3}}} if scheme == "s3" else {}
    return fsspec.filesystem(scheme, skip_instance_cache=True, use_listings_cache=False, **settings)


def _found(location: str, split: str | None) -> list[str]:
    filesystem, path = filesystem_of(location)
    scheme = f"{location.split('://', 1)[0]}://" if is_url(location) else ""
    with reported(location):
        if filesystem.isfile(path):
            found = [path]
        elif filesystem.isdir(path):
            found = _in_folder(filesystem, path, location, split)
        else:
            found = [file for file in filesystem.glob(path) if file.endswith(TABLES)] if glob.has_magic(path) else []
    if not found:
        raise DataError(KEY, location, "no such file or folder, nor any .parquet file in it", "check the path")
    return [f"{scheme}{file}" for file in found]


def _in_folder(filesystem: AbstractFileSystem, path: str, location: str, split: str | None) -> list[str]:
    if filesystem.exists(f"{path}/{SPLITS}"):
        names = json.loads(filesystem.cat_file(f"{path}/{SPLITS}"))["splits"]
        folders = {name: f"its folder: {location.rstrip('/')}/{name}" for name in names}
        path = f"{path}/{_chosen(folders, location, split)}"
    if filesystem.exists(f"{path}/{STATE}"):
        state = json.loads(filesystem.cat_file(f"{path}/{STATE}"))
        return [f"{path}/{Path(entry['filename']).name}" for entry in state["_data_files"]]
    inside = [file.removeprefix(f"{path}/") for file in filesystem.find(path) if file.endswith(".parquet")]
    return [f"{path}/{file}" for file in _of_split(inside, location, split)]


def _of_split(files: Sequence[str], location: str, split: str | None) -> Sequence[str]:
    """The files that are wanted of a folder's: all, where they are of one split or say none."""
    splits = {file: _split_of(file) or (_prefix(file) if split else "") for file in files}
    if len(set(splits.values()) - {""}) < (1 if split else 2):
        return files
    examples = {name: f"its files: {location.rstrip('/')}/{file}" for file, name in sorted(splits.items(), reverse=True) if name}
    chosen = _chosen(dict(sorted(examples.items())), location, split)
    return [file for file, name in splits.items() if name == chosen]


def _split_of(path: str) -> str:
    """The split that a file's name says, or its folder's, as on the hub; empty where neither says any."""
    *folders, _ = path.split("/")
    if shard := _SHARD.fullmatch(Path(path).stem):
        return shard["split"]
    return next((word for word in (_prefix(path), *reversed(folders)) if word in _SPLIT_NAMES), "")


def _prefix(path: str) -> str:
    return Path(path).stem.split("-")[0]


def _chosen(splits: Mapping[str, str], location: str, split: str | None) -> str:
    """The split that is wanted, or the only one.

    Args:
        splits: What each holds, in words: to be named instead.
        location: Where they are.
        split: The option.

    Raises:
        DataError: There is no such split, or there are several and none was named.
    """
    named = ", ".join(splits)
    first = next(iter(splits))
    if split is None and len(splits) == 1:
        return first
    if split is None:
        raise DataError(KEY, location, f"holds several splits: {named}", f"data.options.split={first}, or name {splits[first]}")
    if split not in splits:
        close = get_close_matches(split, splits, n=1)
        cure = f"Did you mean {close[0]}?" if close else f"splits: {named}"
        raise DataError("data.options.split", split, f"{location} has no such split", cure)
    return split
