"""What a location may be: a local path, or a URL of one of five schemes. Nothing is opened here."""

from __future__ import annotations

import os
import re
from pathlib import Path

from cpt.errors import Fault, StorageError

SCHEMES = ("file", "s3", "gs", "az", "hf")
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.\-]*)://")


def is_url(location: str) -> bool:
    """Whether `location` is kept elsewhere, and reached by network; `file://` is local."""
    return bool(_SCHEME.match(location)) and not location.startswith("file://")


def check_location(location: str, where: str) -> None:
    """Refuses a location that may not be opened.

    Args:
        location: A path or URL.
        where: The key or argument that holds it.

    Raises:
        StorageError: Another scheme, a `::` chain, user information in the URL, control characters, or nothing at all.
    """
    if fault := _fault(location, where):
        raise StorageError(fault)


def _fault(location: str, where: str) -> Fault | None:
    if not location.strip():
        return Fault(where, "''", "must name a path or URL")
    if not location.isprintable():
        return Fault(where, location, "must not hold control or other unprintable characters", "rename the file")
    if "::" in location:
        return Fault(where, location, "chained URLs (::) are refused", "name the inner file itself, unpacked")
    match = _SCHEME.match(location)
    return _url_fault(location, match[1], location[match.end() :].split("/", 1)[0], where) if match else None


def _url_fault(location: str, scheme: str, host: str, where: str) -> Fault | None:
    if scheme not in SCHEMES:
        return Fault(where, location, f"scheme {scheme!r} is refused", f"use a path, or a URL of {', '.join(SCHEMES)}")
    if "@" in host:
        return Fault(where, _without_user(location), "must not hold a user name or password", "give credentials by the environment")
    if scheme == "file" and host:
        return Fault(where, location, "file:// names a path of this machine", "write file:///path, or the path alone")
    if scheme != "file" and not host:
        return Fault(where, location, "names no bucket", f"write {scheme}://BUCKET/PATH")
    return None


def _without_user(location: str) -> str:
    return re.sub(r"//[^/]*@", "//…@", location)


def local_path(location: str) -> Path:
    """The path behind a local location; `~` is the user's home."""
    assert not is_url(location), location
    return Path(location.removeprefix("file://")).expanduser()


def join(location: str, *parts: str) -> str:
    """`location` with path components added."""
    return "/".join([location.rstrip("/") or "/", *parts]) if is_url(location) else str(local_path(location).joinpath(*parts))


def base_name(location: str) -> str:
    """The last component of a path or URL."""
    return location.rstrip("/").rsplit("/", 1)[-1]


def cache_folder(*parts: str) -> Path:
    """A folder in the user's cache for this project: `$XDG_CACHE_HOME/cpt/<parts>`, else `~/.cache/cpt/<parts>`."""
    root = os.environ.get("XDG_CACHE_HOME")
    return (Path(root) if root else Path.home() / ".cache").joinpath("cpt", *parts)
