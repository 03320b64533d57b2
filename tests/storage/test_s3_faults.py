"""What goes wrong with S3 is one line with a cure, and comes soon."""

from __future__ import annotations

import importlib.util
import json
import socket
import time

import boto3
import pytest

from cpt import storage
from cpt.errors import StorageError


def test_an_unreachable_endpoint_says_so_within_seconds(s3: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
    started = time.monotonic()
    with pytest.raises(StorageError, match="endpoint cannot be reached") as error:
        storage.expand(f"{s3}/x.jsonl", "data.train")
    assert "AWS_ENDPOINT_URL" in error.value.faults[0].cure
    assert time.monotonic() - started < 20


def test_missing_credentials_are_named(s3: str, monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", f"{tmp_path}/none")
    monkeypatch.setenv("AWS_CONFIG_FILE", f"{tmp_path}/none")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    with pytest.raises(StorageError, match="no credentials") as error:
        storage.write_bytes(f"{s3}/x", b"")
    assert "AWS_ACCESS_KEY_ID" in error.value.faults[0].cure


def test_a_missing_bucket_is_named(s3: str) -> None:
    with pytest.raises(StorageError, match="no such bucket"):
        storage.write_bytes("s3://bucket-that-is-not/x", b"")
    with pytest.raises(StorageError, match="no such bucket"):
        storage.expand("s3://bucket-that-is-not/data", "data.train")


def test_denied_access_is_named(s3: str) -> None:
    storage.write_bytes(f"{s3}/x", b"")
    client = boto3.client("s3")
    bucket = s3.removeprefix("s3://")
    statement = {"Effect": "Deny", "Principal": "*", "Action": "s3:*", "Resource": f"arn:aws:s3:::{bucket}/*"}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    client.put_bucket_policy(Bucket=bucket, Policy=policy)
    client.close()
    with pytest.raises(StorageError, match="access is denied"):
        storage.read_bytes(f"{s3}/x")


@pytest.mark.parametrize(("scheme", "package"), [("gs", "gcsfs"), ("az", "adlfs")])
def test_a_missing_package_is_named(scheme: str, package: str) -> None:
    if importlib.util.find_spec(package):
        pytest.skip(f"{package} is installed")
    with pytest.raises(StorageError, match=f"pip install {package}"):
        storage.read_bytes(f"{scheme}://bucket/x")
