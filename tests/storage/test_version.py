"""A file that changed has another version, however soon it did."""

from __future__ import annotations

from pathlib import Path

import pytest

from cpt import storage
from cpt.storage import committed


def test_a_file_that_is_written_again_at_once_with_the_same_size_has_another_version(tmp_path: Path) -> None:
    file = tmp_path / "a"
    for number in range(20):
        file.write_text("a")
        before = storage.version(str(file))
        assert storage.version(str(file)) == before, number
        file.write_text("b")
        assert storage.version(str(file)) != before, number


def test_an_object_that_is_written_again_has_another_version(s3: str) -> None:
    storage.write_bytes(f"{s3}/a", b"a")
    before = storage.version(f"{s3}/a")
    assert storage.version(f"{s3}/a") == before
    storage.write_bytes(f"{s3}/a", b"b")
    assert storage.version(f"{s3}/a") != before


def test_a_committed_folder_that_has_not_changed_is_read_once_and_one_that_has_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with storage.committed_folder(tmp_path / "a") as unfinished:
        (unfinished / "x").write_text("x")
    read: list[Path] = []
    monkeypatch.setattr(committed, "verify_folder", lambda folder: (read.append(folder), storage.verify_folder(folder)))
    assert storage.is_whole(tmp_path / "a")
    assert storage.is_whole(tmp_path / "a")
    assert len(read) == 1
    (tmp_path / "a" / "x").write_text("y")
    assert not storage.is_whole(tmp_path / "a")
    assert not storage.is_whole(tmp_path / "b")
    assert len(read) == 2
