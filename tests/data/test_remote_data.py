"""The same data from an S3 endpoint, and token stores shared through it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from cpt import storage
from cpt.contracts import NoOptions
from cpt.data.jsonl import fix, validate
from cpt.data.sources import JsonlSource
from cpt.data.store import build_store, store_key
from cpt.data.tokenizer import bytes_tokenizer, load_tokenizer


@pytest.fixture(scope="module")
def bucket() -> Iterator[str]:
    """A bucket of a real S3 server."""
    from moto.server import ThreadedMotoServer  # noqa: PLC0415  a second to import

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        patch.setenv("AWS_ACCESS_KEY_ID", "key")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        from s3fs import S3FileSystem  # noqa: PLC0415

        S3FileSystem.clear_instance_cache()  # another test's server is another endpoint
        S3FileSystem().mkdir("remote-data")
        yield "s3://remote-data"
        S3FileSystem.clear_instance_cache()
    server.stop()


def put(location: str, lines: list[bytes]) -> str:
    storage.write_bytes(location, b"\n".join(lines) + b"\n")
    return location


def test_remote_files_are_held_against_the_same_rules(bucket: str) -> None:
    file = put(f"{bucket}/rules/a.jsonl", [b'{"text": "a"}', b"oops", b'{"text": "b"}'])
    report = validate([f"{bucket}/rules/*.jsonl", f"{bucket}/none.jsonl"])
    assert (report.documents, report.fault_count) == (2, 2)
    assert {(fault.file, fault.line, fault.offset) for fault in report.faults} == {(file, 2, 14), (f"{bucket}/none.jsonl", None, None)}


def test_local_and_remote_content_is_the_same_content(bucket: str, tmp_path: Path) -> None:
    lines = [json.dumps({"text": f"document {number}"}).encode() for number in range(20_000)]
    remote = put(f"{bucket}/same/a.jsonl", lines)
    local = tmp_path / "b.jsonl"
    local.write_bytes(storage.read_bytes(remote))
    source = JsonlSource(NoOptions())
    assert source.fingerprint([remote]) == source.fingerprint([str(local)])
    assert list(source.documents([remote])) == list(source.documents([str(local)]))


def test_fix_writes_to_a_url(bucket: str) -> None:
    fix(put(f"{bucket}/fix/a.jsonl", [b'{"text": "a", "b": 1}']), f"{bucket}/fix/clean.jsonl")
    assert storage.read_bytes(f"{bucket}/fix/clean.jsonl") == b'{"text":"a"}\n'


def test_a_tokenizer_may_stand_behind_a_url(bucket: str, tmp_path: Path) -> None:
    bytes_tokenizer().save(tmp_path)
    storage.publish_folder(tmp_path, f"{bucket}/tokenizer")
    for location in (f"{bucket}/tokenizer", f"{bucket}/tokenizer/tokenizer.json"):
        assert load_tokenizer(location).sha256 == bytes_tokenizer().sha256


def test_a_store_is_published_and_fetched_by_another_machine(bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = f"{bucket}/stores"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "first"))
    first = build_store(["a", "b"], "f", bytes_tokenizer(), root)
    assert storage.exists(f"{root}/{store_key('f', bytes_tokenizer())}/files.json")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "second"))
    second = build_store(["never", "read"], "f", bytes_tokenizer(), root)
    assert (tmp_path / "second") in second.folder.parents
    assert second.tokens.tolist() == first.tokens.tolist()
