"""A file that changed has another version, however soon it did."""

from __future__ import annotations

from pathlib import Path

from cpt import storage


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
