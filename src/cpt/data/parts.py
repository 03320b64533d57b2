"""A store built from parts, each tokenised by itself: the same bytes as in one go, by many processes, and nothing done twice."""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from cpt import storage
from cpt.contracts import DataSource
from cpt.data.processes import run_members
from cpt.data.progress import Progress, onwards
from cpt.data.shard import Shard, ShardJob, argv_of
from cpt.data.store import TokenStore, find_store, join_stores, local_root, publish_store, store_key
from cpt.data.tokenizer import TextTokenizer

PART_BYTES = 16 << 20
"""About so much text is a part: seconds of work, so that little is lost when a process is killed, and all have about the same to do."""
MOST_PARTS = 4096
"""Of a data set; beyond 64 GiB they are larger instead."""


def shards_of(source: DataSource, locations: Sequence[str], fingerprint: str, tokenizer: TextTokenizer) -> list[Shard]:
    """The shards of a data set; none where it is too small to be cut, or its source cannot cut it.

    Raises:
        DataError: Something is missing or invalid.
    """
    count = min(-(-(source.size_bytes(locations) or 0) // PART_BYTES), MOST_PARTS)
    parts = source.parts(locations, count) if count > 1 else []
    folder = f"{store_key(fingerprint, tokenizer)}.parts"
    names = [f"{folder}/{number:05}-of-{len(parts):05}" for number in range(len(parts))]
    return [Shard(name, fingerprint, part) for name, part in zip(names, parts, strict=True)] if len(parts) > 1 else []


def build_from_parts(job: ShardJob, processes: int, progress: Progress) -> TokenStore:
    """The store of the data set whose shards `job` holds: those that are missing are tokenised here, then all are joined.

    Who comes while another builds the same store waits for it.

    Args:
        job: All shards of one data set, in order.
        processes: How many may work at once.
        progress: Told of documents and bytes done.

    Raises:
        UserError: The data cannot be read or has changed, or the store not be written.
    """
    fingerprint, root = job.shards[0].fingerprint, local_root(job.root)
    folder = root / store_key(fingerprint, job.tokenizer)
    parts = [root / shard.name for shard in job.shards]
    with _alone(parts[0].parent):
        if (store := find_store(fingerprint, job.tokenizer, job.root)) is not None:
            return store
        _tokenise(job, parts, processes, progress)
        with storage.committed_folder(folder) as unfinished:
            join_stores([TokenStore(part) for part in parts], unfinished)
        publish_store(folder, job.root)
        storage.remove(str(parts[0].parent))
    if storage.is_url(job.root):
        storage.remove(storage.join(job.root, parts[0].parent.name))
    return TokenStore(folder)


def _tokenise(job: ShardJob, parts: Sequence[Path], processes: int, progress: Progress) -> None:
    found = [_is_here(job.root, shard, part) for shard, part in zip(job.shards, parts, strict=True)]
    missing = [shard for shard, is_here in zip(job.shards, found, strict=True) if not is_here]
    there = [TokenStore(part).header for part, is_here in zip(parts, found, strict=True) if is_here]
    documents, size_bytes = (sum(header[name] for header in there) for name in ("documents", "text_bytes"))
    if not missing:
        return
    with tempfile.TemporaryDirectory() as scratch:
        local = ShardJob(job.source, job.options, job.tokenizer, str(local_root(job.root)), missing)
        local.save(Path(scratch))
        members = min(processes, len(missing))
        run_members(argv_of(Path(scratch), members, 1), range(members), onwards(progress, documents, size_bytes))


def _is_here(root: str, shard: Shard, part: Path) -> bool:
    """Whether the shard's folder is on this machine, fetched if another has published it."""
    if storage.is_whole(part):
        return True
    location = storage.join(root, shard.name)
    if not storage.is_url(location) or not storage.exists(storage.join(location, storage.MARKER)):
        return False
    storage.download(location, part)
    return storage.is_whole(part)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Waits until no other process of this machine, or of those that share the file system, holds the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with suppress(OSError):  # a file system without locks: the work is done twice, with the same bytes
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
        with suppress(OSError):  # it holds parts, or is gone already
            folder.rmdir()
