"""A store holds what was put into it, is built once, and is whole or not there."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from cpt.data.store import TokenStore, build_store, store_key
from cpt.data.tokenizer import bytes_tokenizer
from cpt.errors import DataError, StorageError

TEXTS = ["first", "", "naïve 😀", "first", "x" * 10_000]


def build(root: Path, texts: list[str] = TEXTS, fingerprint: str = "f") -> TokenStore:
    return build_store(texts, fingerprint, bytes_tokenizer(), root)


def test_a_store_holds_ids_sizes_and_digests(tmp_path: Path) -> None:
    store = build(tmp_path)
    assert len(store) == len(TEXTS)
    for index, text in enumerate(TEXTS):
        assert store.document(index).tolist() == [*text.encode(), 256]
        assert store.text_sizes_bytes[index] == len(text.encode())
        assert store.digests[index].tobytes() == hashlib.sha256(text.encode()).digest()[:16]
    assert store.tokens.dtype == np.uint16
    assert store.everything().tokens == sum(len(text.encode()) + 1 for text in TEXTS)
    assert store.everything().predicted == sum(len(text.encode()) for text in TEXTS)


def test_the_same_inputs_are_not_read_again(tmp_path: Path) -> None:
    def never() -> Iterator[str]:
        pytest.fail("the store is there")
        yield ""

    first = build(tmp_path)
    assert build_store(never(), "f", bytes_tokenizer(), tmp_path).folder == first.folder
    assert build(tmp_path, fingerprint="g").folder != first.folder


def test_the_same_inputs_give_the_same_bytes(tmp_path: Path) -> None:
    one, two = build(tmp_path / "a").folder, build(tmp_path / "b").folder
    assert {file.name: file.read_bytes() for file in one.iterdir()} == {file.name: file.read_bytes() for file in two.iterdir()}


@pytest.mark.parametrize("name", ["tokens.bin", "offsets.bin", "sizes.bin", "digests.bin", "header.json", "files.json"])
def test_a_damaged_store_is_built_anew(tmp_path: Path, name: str) -> None:
    file = build(tmp_path).folder / name
    whole = file.read_bytes()
    file.write_bytes(whole[:3] + bytes([whole[3] ^ 1]) + whole[4:])
    build(tmp_path)
    assert file.read_bytes() == whole


def test_a_shortened_or_missing_store_is_not_opened(tmp_path: Path) -> None:
    store = build(tmp_path)
    os.truncate(store.folder / "tokens.bin", 10)
    with pytest.raises(DataError, match="not the size"):
        TokenStore(store.folder)
    with pytest.raises(DataError, match="not a whole token store"):
        TokenStore(tmp_path / "none")


def test_a_failing_source_leaves_nothing(tmp_path: Path) -> None:
    def failing() -> Iterator[str]:
        yield from ["a"] * 2_000
        raise DataError("data", "", "changed", "")

    with pytest.raises(DataError, match="changed"):
        build_store(failing(), "f", bytes_tokenizer(), tmp_path)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(DataError, match="surrogate"):
        build(tmp_path, ["\ud800"])


def test_a_root_that_cannot_be_written_is_the_users_to_mend(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageError):
        build(tmp_path / "file")


BUILDER = """
import sys, time
from pathlib import Path
from cpt.data.store import build_store
from cpt.data.tokenizer import bytes_tokenizer

def slow():
    for number in range(3_000):
        yield f"document {number}"
        if number == 1_500:
            print("half", flush=True)
            time.sleep(float(sys.argv[2]))

build_store(slow(), "f", bytes_tokenizer(), Path(sys.argv[1]))
"""


def test_a_killed_build_leaves_nothing_that_counts_and_the_next_completes_it(tmp_path: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", BUILDER, str(tmp_path), "60"], stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"half\n"
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not (tmp_path / store_key("f", bytes_tokenizer())).exists()
    assert list(tmp_path.iterdir()) != []
    store = build(tmp_path, [f"document {number}" for number in range(3_000)])
    assert len(store) == 3_000
    assert list(tmp_path.iterdir()) == [store.folder]


def test_two_builders_at_once_give_one_whole_store(tmp_path: Path) -> None:
    arguments = [sys.executable, "-c", BUILDER, str(tmp_path), "0.3"]
    with ThreadPoolExecutor() as pool:
        done = list(pool.map(lambda _: subprocess.run(arguments, capture_output=True, check=True), range(2)))
    assert len(done) == 2
    begin = time.time()
    store = build(tmp_path, ["never"])
    assert (len(store), list(tmp_path.iterdir())) == (3_000, [store.folder])
    assert time.time() - begin < 5
