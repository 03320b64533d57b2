"""The token store: one data set tokenised once, content-addressed, memory-mapped.

    <root>/<key>/            key: a hash of format, content, tokenizer; the same inputs are never tokenised twice
        tokens.bin           ids of all documents, one after the other
        offsets.bin          position of each document's first token, and the end of the last one
        sizes.bin            UTF-8 bytes of each document's text
        digests.bin          first 16 bytes of the SHA-256 of each document's text
        header.json          counts, type of the ids, size and SHA-256 of each file

A store is written beside its place and renamed into it: what stands there is whole. Opening checks the sizes of all files; with
`verify` their hashes too.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from cpt.data.pack import Int64s
from cpt.data.progress import Progress, silent
from cpt.data.tokenizer import TextTokenizer
from cpt.errors import DataError, Fault, StorageError

FORMAT = 1
DIGEST_BYTES = 16
TEXTS_PER_BATCH = 512
BYTES_PER_BATCH = 8 << 20
CHUNK_BYTES = 1 << 20


class TokenStore:
    """A data set as token ids, opened from its folder.

    Args:
        folder: The store's folder.
        verify: Whether to check the hash of every file; sizes are always checked.

    Raises:
        DataError: There is no store, or it is damaged.
    """

    def __init__(self, folder: Path, verify: bool = False) -> None:
        self.folder = folder
        self.header = _checked_header(folder, verify)
        count = self.header["documents"]
        self.tokens: NDArray[np.unsignedinteger] = self._map("tokens.bin", self.header["dtype"], self.header["tokens"])
        """Token ids [tokens], memory-mapped."""
        self.offsets: Int64s = self._map("offsets.bin", "int64", count + 1)
        """Position of each document's first token, and the end of the last one [documents + 1]."""
        self.text_sizes_bytes: Int64s = self._map("sizes.bin", "int64", count)
        """UTF-8 bytes of each document's text [documents]."""
        self.digests: NDArray[np.uint8] = self._map("digests.bin", "uint8", count * DIGEST_BYTES).reshape(count, DIGEST_BYTES)
        """First 16 bytes of the SHA-256 of each document's text [documents, 16]."""

    def __len__(self) -> int:
        return int(self.header["documents"])

    @property
    def fingerprint(self) -> str:
        """SHA-256 (hex) of the content, as the data source gave it."""
        return str(self.header["fingerprint"])

    def document(self, index: int) -> NDArray[np.unsignedinteger]:
        """The ids of document `index`: BOS (where there is one), text, EOS."""
        return self.tokens[self.offsets[index] : self.offsets[index + 1]]

    def everything(self) -> DocumentSet:
        """All documents."""
        return DocumentSet(self, np.arange(len(self)))

    def _map(self, name: str, dtype: str, count: int) -> NDArray[Any]:
        if count == 0:
            return np.zeros(0, dtype=dtype)
        return np.memmap(self.folder / name, dtype=dtype, mode="r", shape=(count,))


@dataclass(frozen=True)
class DocumentSet:
    """Some documents of a store.

    Args:
        store: The store.
        indices: Ascending indices of the documents [N].
    """

    store: TokenStore
    indices: Int64s

    def __len__(self) -> int:
        return len(self.indices)

    @property
    def token_counts(self) -> Int64s:
        """Tokens of each document [N], BOS and EOS counted."""
        return np.asarray(self.store.offsets[self.indices + 1] - self.store.offsets[self.indices], dtype=np.int64)

    @property
    def text_sizes_bytes(self) -> Int64s:
        """UTF-8 bytes of each document's text [N]."""
        return np.asarray(self.store.text_sizes_bytes[self.indices], dtype=np.int64)

    @property
    def tokens(self) -> int:
        """Tokens of all documents, BOS and EOS counted."""
        return int(self.token_counts.sum())

    @property
    def predicted(self) -> int:
        """Tokens after the first of each document."""
        return int(np.maximum(self.token_counts - 1, 0).sum())


def build_store(
    documents: Iterable[str], fingerprint: str, tokenizer: TextTokenizer, root: Path, progress: Progress = silent
) -> TokenStore:
    """The store of `documents` in `root`: opened where it is already there and whole, else built.

    A build that is killed leaves nothing that counts, and the next one starts afresh. Of two builders at once, one waits.

    Args:
        documents: The texts; iterated only when there is something to build.
        fingerprint: SHA-256 (hex) of their content.
        tokenizer: Makes the ids.
        root: Folder of stores.
        progress: Told of documents and bytes of text done.

    Raises:
        StorageError: The folder cannot be written.
        DataError: What `documents` raises.
    """
    folder = root / store_key(fingerprint, tokenizer)
    try:
        with _locked(folder):
            try:
                return TokenStore(folder, verify=True)
            except DataError:
                shutil.rmtree(folder, ignore_errors=True)
            unfinished = folder.with_name(f"{folder.name}.unfinished")
            shutil.rmtree(unfinished, ignore_errors=True)
            unfinished.mkdir()
            _write(unfinished, documents, fingerprint, tokenizer, progress)
            unfinished.rename(folder)
    except OSError as error:
        raise StorageError(_storage_fault(root, error)) from error
    return TokenStore(folder)


def store_key(fingerprint: str, tokenizer: TextTokenizer) -> str:
    """Name of the store that these inputs make."""
    return hashlib.sha256(f"{FORMAT} {fingerprint} {tokenizer.sha256}".encode()).hexdigest()[:32]


def _write(folder: Path, documents: Iterable[str], fingerprint: str, tokenizer: TextTokenizer, progress: Progress) -> None:
    dtype = np.min_scalar_type(tokenizer.vocabulary - 1)
    count = total_tokens = total_bytes = 0
    with _HashedFiles(folder) as files:
        files.write("offsets.bin", np.zeros(1, dtype=np.int64))
        for texts in _batches(documents):
            encoded = tokenizer.encode_documents(texts)
            raw = [text.encode() for text in texts]
            ends = total_tokens + np.cumsum([len(ids) for ids in encoded])
            files.write("tokens.bin", np.concatenate(encoded).astype(dtype))
            files.write("offsets.bin", ends.astype(np.int64))
            files.write("sizes.bin", np.array([len(text) for text in raw], dtype=np.int64))
            files.write("digests.bin", np.frombuffer(b"".join(map(text_digest, raw)), dtype=np.uint8))
            count, total_tokens, total_bytes = count + len(texts), int(ends[-1]), total_bytes + sum(map(len, raw))
            progress("tokenise", count, total_bytes)
    counts = {"documents": count, "tokens": total_tokens, "text_bytes": total_bytes, "dtype": dtype.name}
    inputs = {"format": FORMAT, "fingerprint": fingerprint, "tokenizer": tokenizer.sha256}
    _write_durably(folder / "header.json", json.dumps({**inputs, **counts, "files": files.summary}, indent=2).encode())
    _sync_folder(folder)


def text_digest(text: bytes) -> bytes:
    """What the store keeps of a text's identity: the first 16 bytes of the SHA-256 of its UTF-8."""
    return hashlib.sha256(text).digest()[:DIGEST_BYTES]


def _batches(documents: Iterable[str]) -> Iterator[list[str]]:
    """Lists of texts, bounded in number and, but for one text, in size."""
    batch: list[str] = []
    size = 0
    for text in documents:
        batch.append(text)
        size += len(text)
        if len(batch) == TEXTS_PER_BATCH or size >= BYTES_PER_BATCH:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


class _HashedFiles:
    """The store's files while they are written: appended to, hashed on the way, made durable at the end."""

    names = ("tokens.bin", "offsets.bin", "sizes.bin", "digests.bin")

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.open: dict[str, tuple[BinaryIO, Any]] = {}
        self.summary: dict[str, dict[str, Any]] = {}

    def __enter__(self) -> _HashedFiles:
        self.open = {name: ((self.folder / name).open("wb"), hashlib.sha256()) for name in self.names}
        return self

    def write(self, name: str, values: NDArray[Any]) -> None:
        file, digest = self.open[name]
        raw = values.tobytes()
        file.write(raw)
        digest.update(raw)

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        for name, (file, digest) in self.open.items():
            with file:
                if error is None:
                    file.flush()
                    os.fsync(file.fileno())
                    self.summary[name] = {"bytes": file.tell(), "sha256": digest.hexdigest()}


def _checked_header(folder: Path, verify: bool) -> dict[str, Any]:
    cure = "Run the same command again: it is built anew"
    try:
        header: dict[str, Any] = json.loads((folder / "header.json").read_bytes())
        if header["format"] != FORMAT:
            raise DataError(str(folder), f"format {header['format']}", f"this version reads format {FORMAT}", cure)
        for name, facts in header["files"].items():
            file = folder / name
            if file.stat().st_size != facts["bytes"] or (verify and _sha256(file) != facts["sha256"]):
                raise DataError(str(file), "damaged", "must be the file that was written", cure)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(str(folder), type(error).__name__, "is not a whole token store", cure) from error
    return header


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _write_durably(file: Path, content: bytes) -> None:
    with file.open("wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """One builder of `folder` at a time; the lock of a killed one is free."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_name(f"{folder.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _storage_fault(root: Path, error: OSError) -> Fault:
    cure = "Free some space, or set data.store to another folder" if error.errno == errno.ENOSPC else "Set data.store to another folder"
    return Fault(str(root), error.strerror or str(error), "must be a folder that token stores can be written to", cure)
