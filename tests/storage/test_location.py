"""A location is refused before anything is opened, or it is a path or one of five schemes."""

from __future__ import annotations

from pathlib import Path

import pytest

from cpt import storage
from cpt.errors import StorageError


@pytest.mark.parametrize(
    ("location", "rule"),
    [
        ("http://host/x.jsonl", "scheme 'http' is refused"),
        ("S3://bucket/x", "scheme 'S3' is refused"),
        ("simplecache::s3://bucket/x", "chained"),
        ("zip://x.jsonl::/tmp/x.zip", "chained"),
        ("s3://user:secret@bucket/x", "user name or password"),
        ("gs://me@bucket/x", "user name or password"),
        ("s3://bucket/\x1b[31mx", "control"),
        ("x\n.jsonl", "control"),
        ("file://host/x", "path of this machine"),
        ("s3:///x", "names no bucket"),
        ("  ", "must name"),
    ],
)
def test_a_location_that_may_not_be_opened_is_refused(location: str, rule: str) -> None:
    with pytest.raises(StorageError, match=rule) as refusal:
        storage.check_location(location, "data.train")
    assert refusal.value.faults[0].where == "data.train"
    assert "secret" not in str(refusal.value)
    assert str(refusal.value).isprintable()


@pytest.mark.parametrize(
    "location", ["x.jsonl", "/a/b", "~/x", "s3://b/x", "gs://b", "az://c/x", "hf://datasets/o/n@main/x", "file:///x", "a=b"]
)
def test_paths_and_the_five_schemes_are_allowed(location: str) -> None:
    storage.check_location(location, "data.train")


def test_opening_checks_the_location_too() -> None:
    with pytest.raises(StorageError, match="scheme 'ftp' is refused"):
        storage.read_bytes("ftp://host/x")


def test_parts_are_joined_as_the_location_asks(tmp_path: Path) -> None:
    assert storage.join("s3://b/runs/", "a", "b.json") == "s3://b/runs/a/b.json"
    assert storage.join("s3://b", "a") == "s3://b/a"
    assert storage.join("file:///runs", "a") == "/runs/a"
    assert storage.join(str(tmp_path), "a") == str(tmp_path / "a")
    assert storage.join("~", "a") == str(Path.home() / "a")


def test_file_urls_are_local() -> None:
    assert not storage.is_url("file:///x")
    assert storage.is_url("s3://x")
