"""The token store: one data set tokenised once, content-addressed, memory-mapped.

    <root>/<key>/            key: a hash of format, content and tokenizer; the same inputs are never tokenised twice
        tokens.bin           ids of all documents, one after the other
        offsets.bin          position of each document's first token, and the end of the last one
        sizes.bin            UTF-8 bytes of each document's text
        digests.bin          first 16 bytes of the SHA-256 of each document's text
        header.json          inputs, counts and the type of the ids
        files.json           size and SHA-256 of each file: the mark of a committed folder (`cpt.storage`)

`build_store` verifies every hash of a store that it finds, and builds a damaged one anew; opening one checks sizes.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cpt import storage
from cpt.data.pack import Int64s
from cpt.data.progress import Progress, silent
from cpt.data.tokenizer import TextTokenizer
from cpt.errors import DataError

FORMAT = 1
DIGEST_BYTES = 16
TEXTS_PER_BATCH = 512
CHARACTERS_PER_BATCH = 8 << 20
COPY_BYTES = 16 << 20
REBUILD = "The same command builds it anew"
FILES = ("tokens.bin", "offsets.bin", "sizes.bin", "digests.bin")


class TokenStore:
    """A data set as token ids, opened from its folder.

    Args:
        folder: The store's folder.

    Raises:
        DataError: There is no whole store.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.header = _read_header(folder)
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
        file = self.folder / name
        if file.stat().st_size != count * np.dtype(dtype).itemsize:
            raise DataError(str(file), f"{file.stat().st_size:,} bytes", "is not the size that was written", REBUILD)
        return np.memmap(file, dtype=dtype, mode="r", shape=(count,)) if count else np.zeros(0, dtype=dtype)


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

    def document(self, place: int) -> NDArray[np.unsignedinteger]:
        """The ids of the set's document `place`, from 0."""
        return self.store.document(int(self.indices[place]))

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


def find_store(fingerprint: str | None, tokenizer: TextTokenizer, root: str | Path) -> TokenStore | None:
    """The store of this content in `root`, every hash right; None where there is none.

    Args:
        fingerprint: SHA-256 (hex) of the content; None: it is not known.
        tokenizer: Made the ids.
        root: Folder or URL of stores.

    Raises:
        StorageError: The URL cannot be reached.
    """
    if fingerprint is None:
        return None
    key = store_key(fingerprint, tokenizer)
    folder = local_root(root) / key
    remote = storage.join(str(root), key)
    if storage.is_whole(folder):
        return TokenStore(folder)
    if storage.is_url(remote) and storage.exists(storage.join(remote, storage.MARKER)):
        storage.download(remote, folder)
        return TokenStore(folder) if storage.is_whole(folder) else None
    return None


def build_store(
    documents: Iterable[str], fingerprint: str, tokenizer: TextTokenizer, root: str | Path, progress: Progress = silent
) -> TokenStore:
    """The store of `documents` in `root`: opened where it is already there and whole, else built.

    A build that is killed leaves nothing that counts, and the next one starts afresh. Two builders at once do the work twice and get the
    same bytes. Under a URL, the store is fetched where it is there, else built in the user's cache folder and published.

    Args:
        documents: The texts; iterated only when there is something to build.
        fingerprint: SHA-256 (hex) of their content.
        tokenizer: Makes the ids.
        root: Folder or URL of stores.
        progress: Told of documents and bytes of text done.

    Raises:
        StorageError: The folder cannot be written, or the URL not be reached.
        DataError: What `documents` raises.
    """
    key = store_key(fingerprint, tokenizer)
    folder = local_root(root) / key
    if find_store(fingerprint, tokenizer, root) is None:
        with storage.committed_folder(folder) as unfinished:
            write_store(unfinished, documents, fingerprint, tokenizer, progress)
    publish_store(folder, root)
    return TokenStore(folder)


def publish_store(folder: Path, root: str | Path) -> None:
    """Brings a whole store to the URL of its root, if that is one and has not got it.

    Raises:
        StorageError: The URL cannot be reached.
    """
    remote = storage.join(str(root), folder.name)
    if storage.is_url(remote) and not storage.exists(storage.join(remote, storage.MARKER)):
        storage.publish_folder(folder, remote)


def local_root(root: str | Path) -> Path:
    """Local folder of the stores in `root`; those of a URL are in the user's cache folder."""
    return storage.cache_folder() / "stores" if storage.is_url(str(root)) else storage.local_path(str(root)).absolute()


def store_key(fingerprint: str, tokenizer: TextTokenizer) -> str:
    """Name of the store that these inputs make."""
    return hashlib.sha256(f"{FORMAT} {fingerprint} {tokenizer.sha256}".encode()).hexdigest()[:32]


def write_store(folder: Path, documents: Iterable[str], fingerprint: str, tokenizer: TextTokenizer, progress: Progress) -> None:
    """Writes the files of the store of `documents` into an empty folder.

    Raises:
        DataError: What `documents` raises, or a text that is none.
    """
    dtype = np.min_scalar_type(tokenizer.vocabulary - 1)
    count = total_tokens = total_bytes = 0
    with ExitStack() as stack:
        tokens, offsets, sizes, digests = (stack.enter_context((folder / name).open("wb")) for name in FILES)
        offsets.write(np.zeros(1, dtype=np.int64).tobytes())
        for texts in _batches(documents):
            raw = [_utf8(text) for text in texts]
            encoded = tokenizer.encode_documents(texts)
            ends = total_tokens + np.cumsum([len(ids) for ids in encoded])
            tokens.write(np.concatenate(encoded).astype(dtype).tobytes())
            offsets.write(ends.astype(np.int64).tobytes())
            sizes.write(np.array([len(text) for text in raw], dtype=np.int64).tobytes())
            digests.write(b"".join(map(text_digest, raw)))
            count, total_tokens, total_bytes = count + len(texts), int(ends[-1]), total_bytes + sum(map(len, raw))
            progress("tokenise", count, total_bytes)
    counts = {"documents": count, "tokens": total_tokens, "text_bytes": total_bytes}
    inputs = {"format": FORMAT, "fingerprint": fingerprint, "tokenizer": tokenizer.sha256}
    _write_header(folder, inputs | counts | {"dtype": dtype.name})


def join_stores(parts: Sequence[TokenStore], folder: Path) -> None:
    """Writes into an empty folder what `write_store` would have written of the parts' documents, one part after the other."""
    for name in FILES:
        if name != "offsets.bin":
            _concatenate([part.folder / name for part in parts], folder / name)
    totals = dict.fromkeys(("documents", "tokens", "text_bytes"), 0)
    with (folder / "offsets.bin").open("wb") as offsets:
        offsets.write(np.zeros(1, dtype=np.int64).tobytes())
        for part in parts:
            offsets.write((part.offsets[1:] + totals["tokens"]).tobytes())
            totals = {name: total + part.header[name] for name, total in totals.items()}
    _write_header(folder, parts[0].header | totals)


def _concatenate(files: Sequence[Path], target: Path) -> None:
    with target.open("wb") as joined:
        for file in files:
            with file.open("rb") as stream:
                shutil.copyfileobj(stream, joined, COPY_BYTES)


def _write_header(folder: Path, header: dict[str, Any]) -> None:
    (folder / "header.json").write_text(json.dumps(header, indent=1))


def text_digest(text: bytes) -> bytes:
    """What the store keeps of a text's identity: the first 16 bytes of the SHA-256 of its UTF-8."""
    return hashlib.sha256(text).digest()[:DIGEST_BYTES]


def _utf8(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise DataError("data", text[error.start : error.end], "half a surrogate pair is no text", "Mend the data source") from None


def _batches(documents: Iterable[str]) -> Iterator[list[str]]:
    """Lists of texts, bounded in number and, but for one text, in size."""
    batch: list[str] = []
    size = 0
    for text in documents:
        batch.append(text)
        size += len(text)
        if len(batch) == TEXTS_PER_BATCH or size >= CHARACTERS_PER_BATCH:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _read_header(folder: Path) -> dict[str, Any]:
    try:
        header: dict[str, Any] = json.loads((folder / "header.json").read_bytes())
    except (OSError, ValueError) as error:
        raise DataError(str(folder), type(error).__name__, "is not a whole token store", REBUILD) from error
    if header["format"] != FORMAT:
        raise DataError(str(folder), f"format {header['format']}", f"this version reads format {FORMAT}", REBUILD)
    return header
