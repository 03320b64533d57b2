"""Whether a file is still the one that was read."""

from __future__ import annotations

import time

from cpt.storage.location import is_url, local_path
from cpt.storage.remote import open_filesystem, reported

TICK_S = 0.02
"""Longer than the steps in which file systems tell the time: two changes within one have the same."""


def version(location: str) -> str:
    """What changes when the file at `location` does: its size and time of change, or the storage's own account of it.

    A file that was written just now is waited for, so that a change after this call cannot go unseen.

    Raises:
        StorageError: It is not there.
    """
    with reported(location):
        if is_url(location):
            filesystem, path = open_filesystem(location)
            return str(filesystem.ukey(path))
        status = local_path(location).stat()
        if abs(time.time() - status.st_mtime) < TICK_S:
            time.sleep(TICK_S)
            status = local_path(location).stat()
        return f"{status.st_size}-{status.st_mtime_ns}"
