"""What a location may be: a local path, or a URL of one of five schemes. Nothing is opened here."""

from __future__ import annotations

import os
import re
from pathlib import Path

from cpt.errors import StorageError
from cpt.recipe.locations import location_fault

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
    if fault := location_fault(where, location):
        raise StorageError(fault)


def local_path(location: str) -> Path:
    """The path behind a local location; `~` is the user's home."""
    assert not is_url(location), location
    return Path(location.removeprefix("file://")).expanduser()


def absolute(location: str) -> str:
    """`location` as a process with another working folder finds it."""
    return location if is_url(location) else str(local_path(location).absolute())


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
