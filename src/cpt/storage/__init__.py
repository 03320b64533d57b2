"""Files at local paths and URLs alike; what is saved is written beside, hashed, and published by one atomic act.

A location is a local path or a URL of the schemes file, s3, gs, az and hf. Whatever the file system raises comes as `StorageError`.
"""

from cpt.storage.committed import commit, committed_folder, is_whole, verify_folder
from cpt.storage.files import (
    MARKER,
    download,
    exists,
    expand,
    fetch,
    list_names,
    open_binary,
    publish_file,
    publish_folder,
    read_bytes,
    remove,
    sha256_file,
    size_bytes,
    write_bytes,
)
from cpt.storage.leases import Lease, lease
from cpt.storage.location import absolute, base_name, cache_folder, check_location, is_url, join, local_path
from cpt.storage.remote import reported
from cpt.storage.scratch import write_private
from cpt.storage.version import version

__all__ = [
    "MARKER",
    "Lease",
    "absolute",
    "base_name",
    "cache_folder",
    "check_location",
    "commit",
    "committed_folder",
    "download",
    "exists",
    "expand",
    "fetch",
    "is_url",
    "is_whole",
    "join",
    "lease",
    "list_names",
    "local_path",
    "open_binary",
    "publish_file",
    "publish_folder",
    "read_bytes",
    "remove",
    "reported",
    "sha256_file",
    "size_bytes",
    "verify_folder",
    "version",
    "write_bytes",
    "write_private",
]
