"""Tables as `datasets` and pyarrow write them, and a bucket of a real S3 server."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

os.environ["HF_DATASETS_DISABLE_PROGRESS_BARS"] = "1"
os.environ["HF_HUB_OFFLINE"] = "1"


@pytest.fixture(autouse=True)
def _own_user(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Caches and stores of its own for every test."""
    home: Path = tmp_path_factory.mktemp("user")
    monkeypatch.setenv("XDG_CACHE_HOME", str(home / "cache"))
    monkeypatch.setenv("HF_HOME", str(home / "huggingface"))
    monkeypatch.setenv("CPT_STORE", str(home / "stores"))


@pytest.fixture(scope="session")
def _endpoint() -> Iterator[str]:
    from moto.server import ThreadedMotoServer  # noqa: PLC0415  a second to import

    server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def bucket(_endpoint: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """`s3://tables`."""
    names = {"AWS_ENDPOINT_URL": _endpoint, "AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "AWS_DEFAULT_REGION": "us-east-1"}
    for name, value in names.items():
        monkeypatch.setenv(name, value)
    from s3fs import S3FileSystem  # noqa: PLC0415

    S3FileSystem.clear_instance_cache()  # another test's server is another endpoint
    filesystem = S3FileSystem()
    if not filesystem.exists("tables"):
        filesystem.mkdir("tables")
    return "s3://tables"
