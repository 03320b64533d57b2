"""Files at paths and URLs alike: the same promises on a disk and on a real S3 server."""

from __future__ import annotations

from pathlib import Path

import pytest

from cpt import storage
from cpt.errors import StorageError
from cpt.storage.remote import reported


@pytest.fixture(params=["local", "s3"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A folder that is empty: local, then at a URL."""
    return str(tmp_path / "place") if request.param == "local" else f"{request.getfixturevalue('s3')}/place"


def test_what_is_written_is_read_back(place: str) -> None:
    location = storage.join(place, "a", "x.bin")
    assert not storage.exists(location)
    storage.write_bytes(location, b"one")
    storage.write_bytes(location, b"three")
    assert storage.exists(location)
    assert storage.read_bytes(location) == b"three"
    with storage.open_binary(location) as file:
        assert file.readline() == b"three"
    assert storage.list_names(storage.join(place, "a")) == ["x.bin"]
    assert storage.list_names(place) == ["a"]
    assert storage.list_names(storage.join(place, "none")) == []


def test_a_file_larger_than_its_limit_is_refused(place: str) -> None:
    location = storage.join(place, "x")
    storage.write_bytes(location, b"12345")
    assert storage.read_bytes(location, limit=5) == b"12345"
    with pytest.raises(StorageError, match="larger than 4 bytes"):
        storage.read_bytes(location, limit=4)


def test_what_is_missing_says_so(place: str) -> None:
    with pytest.raises(StorageError, match="does not exist"):
        storage.read_bytes(storage.join(place, "none"))
    with pytest.raises(StorageError, match="does not exist"):
        storage.fetch(storage.join(place, "none"), Path("unused"))


def test_files_globs_and_folders_expand_to_files_once_and_sorted(place: str) -> None:
    for name in ("b.jsonl", "a.jsonl", "notes.txt", "deep/c.jsonl"):
        storage.write_bytes(storage.join(place, name), b"{}")
    a, b, notes = (storage.join(place, name) for name in ("a.jsonl", "b.jsonl", "notes.txt"))
    assert storage.expand(place, "data.train") == [a, b]
    assert storage.expand([b, storage.join(place, "*.jsonl")], "data.train") == [a, b]
    assert storage.expand([notes], "data.train") == [notes]
    assert storage.expand(storage.join(place, "*", "*.jsonl"), "data.train") == [storage.join(place, "deep/c.jsonl")]


def test_every_missing_location_is_a_fault(place: str) -> None:
    storage.write_bytes(storage.join(place, "notes.txt"), b"")
    wanted = [storage.join(place, "none.jsonl"), storage.join(place, "*.jsonl"), place, "ftp://x/y"]
    with pytest.raises(StorageError) as error:
        storage.expand(wanted, "data.train")
    assert [fault.value for fault in error.value.faults] == wanted
    assert {fault.where for fault in error.value.faults} == {"data.train"}


def test_removing_takes_files_and_folders_and_nothing_else(place: str) -> None:
    for name in ("gone/files.json", "gone/a/x", "gone.txt", "stays"):
        storage.write_bytes(storage.join(place, name), b"x")
    storage.remove(storage.join(place, "gone"))
    storage.remove(storage.join(place, "gone.txt"))
    storage.remove(storage.join(place, "never-was"))
    assert storage.list_names(place) == ["stays"]


def test_a_folder_is_published_whole_and_replaces_what_was_there(place: str, tmp_path: Path) -> None:
    folder = tmp_path / "source"
    (folder / "deep").mkdir(parents=True)
    for name in ("a", "deep/b", "files.json"):
        (folder / name).write_text(name)
    storage.write_bytes(storage.join(place, "run", "stale"), b"")
    storage.publish_folder(folder, storage.join(place, "run"))
    assert storage.list_names(storage.join(place, "run")) == ["a", "deep", "files.json"]
    assert storage.read_bytes(storage.join(place, "run", "deep", "b")) == b"deep/b"


def test_a_local_location_is_fetched_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("x")
    assert storage.fetch(str(tmp_path / "x"), tmp_path / "cache") == tmp_path / "x"
    assert storage.fetch(f"file://{tmp_path}/x", tmp_path / "cache") == tmp_path / "x"


def test_a_url_is_downloaded_once_until_it_changes(s3: str, tmp_path: Path) -> None:
    storage.write_bytes(f"{s3}/x.json", b"one")
    first = storage.fetch(f"{s3}/x.json", tmp_path)
    assert (first.name, first.read_bytes()) == ("x.json", b"one")
    stamp = first.stat().st_mtime_ns
    assert storage.fetch(f"{s3}/x.json", tmp_path).stat().st_mtime_ns == stamp
    storage.write_bytes(f"{s3}/x.json", b"two")
    assert storage.fetch(f"{s3}/x.json", tmp_path).read_bytes() == b"two"


def test_a_folder_at_a_url_is_downloaded_with_its_folders(s3: str, tmp_path: Path) -> None:
    storage.write_bytes(f"{s3}/model/config.json", b"{}")
    storage.write_bytes(f"{s3}/model/deep/x.bin", b"x" * 100_000)
    folder = storage.fetch(f"{s3}/model", tmp_path)
    assert folder.name == "model"
    assert sorted(file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file()) == ["config.json", "deep/x.bin"]
    assert not [name for name in storage.list_names(str(folder.parent)) if name.endswith(".partial")]


def test_a_write_leaves_the_old_file_or_the_new_and_no_leftovers(tmp_path: Path) -> None:
    target = tmp_path / "x"
    storage.write_bytes(str(target), b"old")
    dead = tmp_path / ".x.0123456789ab.partial"
    dead.mkdir()
    (dead / "x").write_bytes(b"half")
    storage.write_bytes(str(target), b"new")
    assert target.read_bytes() == b"new"
    assert storage.list_names(str(tmp_path)) == ["x"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
def test_a_full_disk_is_one_line() -> None:
    with pytest.raises(StorageError, match="no space is left") as error, reported("out.bin"), Path("/dev/full").open("wb", 0) as file:
        file.write(b"x")
    assert "free some" in error.value.faults[0].cure


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError) as error:
        storage.write_bytes(str(tmp_path / "file" / "below" / "x"), b"")
    assert "not a directory" in str(error.value)
