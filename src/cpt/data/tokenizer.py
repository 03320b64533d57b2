"""Text to token ids and back, with one end for every document. Special strings that stand in a text are text."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cpt import storage
from cpt.data.byte_level import END_OF_TEXT, tokenizer_json
from cpt.data.special_tokens import SpecialTokens, beginning_with
from cpt.errors import DataError

COMPANIONS = ("tokenizer_config.json", "chat_template.jinja")
"""Files beside a tokenizer.json that travel with it."""
CONFIGURATIONS = ("generation_config.json", "config.json", "tokenizer_config.json")
"""Files that name BOS and EOS, the most trusted first."""
LARGEST_FILE_BYTES = 256 << 20


class TextTokenizer:
    """A `tokenizer.json`, the id that ends a document and, where there is one, the id that begins it.

    Args:
        definition: The text of the `tokenizer.json`.
        eos_id: Token that ends every document.
        bos_id: Token that begins every document; None: there is none.
        companions: Texts of the `COMPANIONS` found beside it, by file name.

    Raises:
        DataError: The definition cannot be read.
    """

    def __init__(self, definition: str, eos_id: int, bos_id: int | None, companions: Mapping[str, str] | None = None) -> None:
        self.definition, self.eos_id, self.bos_id = definition, eos_id, bos_id
        self.companions = dict(companions or {})
        self.is_bytes = definition == tokenizer_json()

    @classmethod
    def open(cls, folder: Path, eos_id: int, bos_id: int | None) -> TextTokenizer:
        """What `save` wrote to `folder`."""
        companions = {name: (folder / name).read_text(encoding="utf-8") for name in COMPANIONS if (folder / name).is_file()}
        return cls((folder / "tokenizer.json").read_text(encoding="utf-8"), eos_id, bos_id, companions)

    @cached_property
    def library(self) -> Any:
        """The `tokenizers.Tokenizer`, set to cut no text, pad none and take special strings for text."""
        return open_definition(self.definition, "tokenizer.json")

    @cached_property
    def vocabulary(self) -> int:
        """Rows that an embedding needs: the largest id plus one."""
        return 1 + (256 if self.is_bytes else max(self.library.get_vocab(with_added_tokens=True).values()))

    @cached_property
    def sha256(self) -> str:
        """SHA-256 (hex) of all that decides ids; how ids become text again does not."""
        parts = json.loads(self.definition)
        deciding = [parts.get(name) for name in ("normalizer", "pre_tokenizer", "model", "added_tokens")]
        return hashlib.sha256(json.dumps([*deciding, self.eos_id, self.bos_id], sort_keys=True).encode()).hexdigest()

    def encode_documents(self, texts: Sequence[str]) -> list[NDArray[np.uint32]]:
        """The ids of each text as a document: BOS (where there is one), text, EOS. Uses all cores for many texts."""
        return [self._framed(ids) for ids in self._encode(texts)]

    def encode(self, text: str) -> list[int]:
        """The ids of a prompt: BOS (where there is one) and text, without EOS."""
        begin = [] if self.bos_id is None else [self.bos_id]
        return [*begin, *map(int, self._encode([text])[0])]

    def decode(self, ids: Iterable[int]) -> str:
        """The text of `ids`; special tokens have none."""
        return str(self.library.decode([int(i) for i in ids], skip_special_tokens=True))

    def save(self, folder: Path) -> None:
        """Writes what `transformers.AutoTokenizer` opens: tokenizer.json, tokenizer_config.json and the other companions."""
        folder.mkdir(parents=True, exist_ok=True)
        config = json.loads(self.companions.get("tokenizer_config.json", '{"tokenizer_class": "PreTrainedTokenizerFast"}'))
        config.pop("auto_map", None)  # asks for trust_remote_code
        for key, token_id in (("eos_token", self.eos_id), ("bos_token", self.bos_id)):
            if token_id is not None:
                config[key] = self.library.id_to_token(token_id)
        written = {**self.companions, "tokenizer.json": self.definition, "tokenizer_config.json": json.dumps(config, indent=2) + "\n"}
        for name, text in written.items():
            (folder / name).write_text(text, encoding="utf-8")

    def _framed(self, ids: Sequence[int]) -> NDArray[np.uint32]:
        begin = 0 if self.bos_id is None else 1
        document = np.full(begin + len(ids) + 1, self.eos_id, dtype=np.uint32)
        document[:begin] = self.bos_id or 0
        document[begin:-1] = ids
        return document

    def _encode(self, texts: Sequence[str]) -> list[Sequence[int]]:
        if self.is_bytes:
            return [np.frombuffer(text.encode(), dtype=np.uint8) for text in texts]  # type: ignore[misc]
        return [encoding.ids for encoding in self.library.encode_batch_fast(texts, add_special_tokens=False)]


def open_definition(definition: str, where: str) -> Any:
    """`definition` as a `tokenizers.Tokenizer` without truncation and padding, for which special strings are text.

    Raises:
        DataError: It is not a tokenizer.json.
    """
    from tokenizers import Tokenizer  # noqa: PLC0415  a native library that `cpt --help` can do without

    try:
        library = Tokenizer.from_str(definition)
    except Exception as error:  # the library raises bare Exception
        raise DataError(where, str(error), "is not a tokenizer.json that the tokenizers library reads", "Name another one") from None
    library.no_truncation()
    library.no_padding()
    library.encode_special_tokens = True
    return library


def bytes_tokenizer(bos: bool | None = None, eos: str | int | None = None) -> TextTokenizer:
    """Ids 0 to 255 are the bytes of the text's UTF-8, 256 is `<|endoftext|>`, which ends a document unless `eos` says otherwise.

    Raises:
        DataError: BOS is asked for, which bytes have none of, or there is no such EOS.
    """
    definition = tokenizer_json()
    special = SpecialTokens(open_definition(definition, "bytes"), [{"eos_token": END_OF_TEXT}])
    return TextTokenizer(definition, special.eos_id(eos), special.bos_id(bos))


def load_tokenizer(location: str | Path, bos: bool | None = None, eos: str | int | None = None) -> TextTokenizer:
    """The tokenizer of a folder, or of a tokenizer.json with the configuration beside it.

    Args:
        location: A folder or a `.json` file, as path or URL.
        bos: Whether documents begin with BOS; None: as the tokenizer's own post-processor does.
        eos: What ends a document; None: as generation_config.json, config.json or tokenizer_config.json says, in this order.

    Raises:
        DataError: There is no readable tokenizer, no EOS, or no BOS where one is asked for.
        StorageError: The location cannot be read.
    """
    place = str(location)
    folder, _, name = place.rpartition("/") if place.endswith(".json") else (place, "", "tokenizer.json")
    definition = _read(folder, name)
    if definition is None:
        raise DataError("tokenizer", place, "must be a tokenizer.json or a folder with one", "Set tokenizer.path, or tokenizer=bytes")
    library = open_definition(definition, place)
    special = SpecialTokens(library, [_configuration(folder, name) for name in CONFIGURATIONS])
    companions = {name: text for name in COMPANIONS if (text := _read(folder, name)) is not None}
    bos_id = special.bos_id(bos)
    if special.prefix != ([] if bos_id is None else [bos_id]):
        definition = beginning_with(definition, library, bos_id)
    return TextTokenizer(definition, special.eos_id(eos), bos_id, companions)


def _read(folder: str, name: str) -> str | None:
    file = storage.join(folder or ".", name)
    if not storage.exists(file):
        return None
    try:
        return storage.read_bytes(file, LARGEST_FILE_BYTES).decode()
    except UnicodeDecodeError:
        raise DataError(file, "", "must be UTF-8", "Fetch it anew") from None


def _configuration(folder: str, name: str) -> dict[str, Any]:
    text = _read(folder, name)
    try:
        return dict(json.loads(text or "{}"))
    except (ValueError, TypeError) as error:
        raise DataError(storage.join(folder or ".", name), str(error), "must be a JSON object", "Fetch it anew") from None
