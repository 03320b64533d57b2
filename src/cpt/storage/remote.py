"""File systems behind URLs, through fsspec, and their many exceptions as one `StorageError` with a cure."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any

from cpt.errors import CptError, Fault, StorageError
from cpt.storage.location import check_location, is_url
from cpt.storage.scratch import SCRATCH_SUFFIX

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

PACKAGES = {"s3": "s3fs", "gs": "gcsfs", "az": "adlfs", "hf": "huggingface_hub"}
_S3_SETTINGS = {"config_kwargs": {"connect_timeout": 5, "retries": {"max_attempts": 3}}}
_UNREACHABLE = {
    "ClientConnectorError",
    "ConnectTimeoutError",
    "ConnectionClosedError",
    "ConnectionError",
    "EndpointConnectionError",
    "FSTimeoutError",
    "ReadTimeoutError",
    "TimeoutError",
}
_NO_CREDENTIALS = {"DefaultCredentialsError", "NoCredentialsError", "PartialCredentialsError", "ProfileNotFound", "TokenRetrievalError"}
_NETWORK = {"adlfs", "aiobotocore", "aiohttp", "azure", "botocore", "fsspec", "gcsfs", "httpx", "huggingface_hub", "requests", "s3fs"}
_ENDPOINT_CURE = "check AWS_ENDPOINT_URL and the network"
_CREDENTIALS_CURE = "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE"


def open_filesystem(location: str) -> tuple[AbstractFileSystem, str]:
    """The file system behind a URL, and the path within it. Endpoint and credentials are the environment's.

    Raises:
        StorageError: The location is refused, or the package for its scheme is not installed.
    """
    check_location(location, location)
    scheme, path = location.split("://", 1)
    environment = tuple(sorted(item for item in os.environ.items() if item[0].startswith("AWS_")))
    try:
        return _filesystem(scheme, environment, os.getpid()), path.rstrip("/")
    except ImportError as error:
        package = PACKAGES[scheme]
        raise StorageError(Fault(location, "", f"{scheme}:// needs the package {package}", f"pip install {package}")) from error


@cache
def _filesystem(scheme: str, environment: tuple[tuple[str, str], ...], pid: int) -> AbstractFileSystem:  # noqa: ARG001
    """One a process and environment: a client that was made for another endpoint, or before a fork, is of no use."""
    import fsspec  # noqa: PLC0415  (slow, and only needed once a URL is met)

    settings: dict[str, Any] = _S3_SETTINGS if scheme == "s3" else {}
    return fsspec.filesystem(scheme, skip_instance_cache=True, use_listings_cache=False, **settings)


@contextmanager
def reported(location: str) -> Iterator[None]:
    """Turns what a file system raises into a `StorageError` about `location`."""
    try:
        yield
    except CptError:
        raise
    except Exception as error:
        if not isinstance(error, OSError) and not (is_url(location) and type(error).__module__.split(".")[0] in _NETWORK):
            raise
        raise StorageError(_explain(error, location)) from error


def _explain(error: Exception, location: str) -> Fault:
    if is_url(location):
        return Fault(location, "", *_explain_remote(error))
    assert isinstance(error, OSError)
    name = os.fsdecode(error.filename2 or error.filename or location)
    return Fault(location if SCRATCH_SUFFIX in name else name, "", *_explain_local(error))


def _explain_local(error: OSError) -> tuple[str, str]:
    if isinstance(error, FileNotFoundError):
        return "does not exist", "check the path"
    if isinstance(error, PermissionError):
        return "access is denied", "check its owner and mode"
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return "no space is left on the device", "free some, or name a folder elsewhere"
    return (error.strerror or str(error)).lower(), "check the path"


def _explain_remote(error: Exception) -> tuple[str, str]:
    names = {type(cause).__name__ for cause in _causes(error)}
    codes = {str(getattr(cause, "response", {}).get("Error", {}).get("Code")) for cause in _causes(error)}
    if names & _NO_CREDENTIALS:
        return "no credentials were found", _CREDENTIALS_CURE
    if names & _UNREACHABLE:
        return f"the endpoint cannot be reached ({_first_line(error)})", _ENDPOINT_CURE
    if "NoSuchBucket" in codes or "specified bucket does not exist" in str(error):
        return "there is no such bucket", "check the bucket's name, or create it"
    if isinstance(error, FileNotFoundError):
        return "does not exist", "check the path"
    if isinstance(error, PermissionError):
        return "access is denied", f"check what these credentials may do, or {_CREDENTIALS_CURE}"
    return _first_line(error), "try again"


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
