"""What is not committed does not exist; what is committed is verified when read."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from cpt import storage
from cpt.errors import CheckpointError


def commit(target: Path, **files: str) -> None:
    with storage.committed_folder(target) as folder:
        for name, text in files.items():
            (folder / "deep").mkdir(exist_ok=True)
            (folder / "deep" / name).write_text(text)


def test_a_committed_folder_lists_its_files_and_verifies(tmp_path: Path) -> None:
    target = tmp_path / "store"
    commit(target, a="alpha", b="")
    listed = json.loads((target / "files.json").read_text())
    assert listed["deep/a"] == {"bytes": 5, "sha256": "8ed3f6ad685b959ead7022518e1af76cd816f8e8ec7ccdda1ed4018e8f2223f8"}
    assert set(listed) == {"deep/a", "deep/b"}
    assert storage.verify_folder(target) == storage.sha256_file(target / "files.json")
    assert storage.list_names(str(tmp_path)) == ["store"]


def test_a_block_that_fails_leaves_what_was_there(tmp_path: Path) -> None:
    target = tmp_path / "store"
    commit(target, a="old")
    with pytest.raises(ZeroDivisionError), storage.committed_folder(target) as folder:
        (folder / "a").write_text(f"half {1 / 0}")
    storage.verify_folder(target)
    assert (target / "deep" / "a").read_text() == "old"
    assert storage.list_names(str(tmp_path)) == ["store"]


def test_a_second_commit_replaces_the_first(tmp_path: Path) -> None:
    target = tmp_path / "store"
    commit(target, a="old", b="gone")
    commit(target, a="new")
    storage.verify_folder(target)
    assert storage.list_names(str(target / "deep")) == ["a"]
    assert (target / "deep" / "a").read_text() == "new"


@pytest.mark.parametrize("bit", range(0, 40, 7))
def test_any_flipped_bit_is_found_and_its_file_named(tmp_path: Path, bit: int) -> None:
    target = tmp_path / "store"
    commit(target, a="alpha", b="beta")
    file = target / "deep" / "a"
    data = bytearray(file.read_bytes())
    data[bit // 8] ^= 1 << bit % 8
    file.write_bytes(data)
    with pytest.raises(CheckpointError) as error:
        storage.verify_folder(target)
    assert [fault.where for fault in error.value.faults] == [str(file)]


def test_missing_short_and_unlisted_are_told_apart_all_at_once(tmp_path: Path) -> None:
    target = tmp_path / "store"
    commit(target, a="alpha", b="beta")
    (target / "deep" / "a").unlink()
    (target / "deep" / "b").write_text("bet")
    with pytest.raises(CheckpointError) as error:
        storage.verify_folder(target)
    assert [fault.rule for fault in error.value.faults] == ["is missing, but listed in files.json", "4 bytes were committed"]
    (target / "files.json").unlink()
    with pytest.raises(CheckpointError, match="is not committed"):
        storage.verify_folder(target)


@pytest.mark.parametrize("marker", ["", "[]", '{"a": {}}', '{"a": 1}', "\xff"])
def test_a_broken_list_is_one_line(tmp_path: Path, marker: str) -> None:
    (tmp_path / "files.json").write_bytes(marker.encode("latin-1"))
    with pytest.raises(CheckpointError, match=r"files.json: cannot be read"):
        storage.verify_folder(tmp_path)


def test_a_list_cannot_name_files_outside_its_folder(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("x")
    folder = tmp_path / "store"
    folder.mkdir()
    for name in ("../secret", str(tmp_path / "secret")):
        (folder / "files.json").write_text(json.dumps({name: {"bytes": 1, "sha256": storage.sha256_file(tmp_path / "secret")}}))
        with pytest.raises(CheckpointError, match="outside its folder"):
            storage.verify_folder(folder)


WRITER = """
import sys, time
from pathlib import Path
from cpt import storage
with storage.committed_folder(Path(sys.argv[1])) as folder:
    (folder / "a").write_text("half")
    print("writing", flush=True)
    time.sleep(60)
"""


def test_a_killed_writer_leaves_nothing_once_the_next_has_committed(tmp_path: Path) -> None:
    target = tmp_path / "store"
    writer = subprocess.Popen([sys.executable, "-c", WRITER, str(target)], stdout=subprocess.PIPE)
    assert writer.stdout is not None
    writer.stdout.readline()
    commit(target, a="ours")
    assert len(storage.list_names(str(tmp_path))) == 2  # the other is alive: its folder is left alone
    writer.send_signal(signal.SIGKILL)
    writer.communicate()
    storage.verify_folder(target)
    commit(target, a="ours again")
    assert storage.list_names(str(tmp_path)) == ["store"]
