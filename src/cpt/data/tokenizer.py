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
from cpt.errors import DataError

END_OF_TEXT = "<|endoftext|>"
COMPANIONS = ("tokenizer_config.json", "special_tokens_map.json", "chat_template.jinja")
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
        self._is_bytes = definition == bytes_definition()

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
        return 1 + (256 if self._is_bytes else max(self.library.get_vocab(with_added_tokens=True).values()))

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
        """The text of `ids`; BOS and EOS have none."""
        return str(self.library.decode([int(i) for i in ids], skip_special_tokens=True))

    def save(self, folder: Path) -> None:
        """Writes what `transformers.AutoTokenizer` opens: tokenizer.json, tokenizer_config.json and the other companions."""
        folder.mkdir(parents=True, exist_ok=True)
        config = json.loads(self.companions.get("tokenizer_config.json", '{"tokenizer_class": "PreTrainedTokenizerFast"}'))
        config.pop("auto_map", None)  # asks for trust_remote_code
        for key, token_id in (("eos_token", self.eos_id), ("bos_token", self.bos_id)):
            if token_id is not None and not config.get(key):
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
        if self._is_bytes:
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
    definition = bytes_definition()
    special = SpecialTokens(open_definition(definition, "bytes"), [{"eos_token": END_OF_TEXT}])
    return TextTokenizer(definition, special.eos_id(eos), special.bos_id(bos))


def bytes_definition() -> str:
    """The tokenizer.json of bytes: a byte-level BPE without merges."""
    special = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
    vocabulary = {character: byte for byte, character in enumerate(byte_characters())} | {END_OF_TEXT: 256}
    definition: dict[str, Any] = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [{"id": 256, "content": END_OF_TEXT, **special}],
        "normalizer": None,
        "pre_tokenizer": byte_level,
        "post_processor": None,
        "decoder": byte_level,
        "model": {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None, "end_of_word_suffix": None,
                  "fuse_unk": False, "byte_fallback": False, "ignore_merges": False, "vocab": vocabulary, "merges": []},
    }  # fmt: skip
    return json.dumps(definition, ensure_ascii=False, indent=2) + "\n"


def byte_characters() -> list[str]:
    """The printable character that stands for each byte in a byte-level vocabulary.

    Source: GPT-2's alphabet, https://github.com/openai/gpt-2/blob/master/src/encoder.py: printable Latin-1 stands for itself,
    the other 68 bytes for U+0100 onwards in order.
    """
    itself = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = iter(range(0x100, 0x200))
    return [chr(byte if byte in itself else next(others)) for byte in range(256)]


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
    definition = _read(folder or ".", name)
    if definition is None:
        raise DataError("tokenizer", place, "must be a tokenizer.json or a folder with one", "Set tokenizer.path, or tokenizer=bytes")
    library = open_definition(definition, place)
    special = SpecialTokens(library, [_configuration(folder or ".", name) for name in CONFIGURATIONS])
    companions = {name: text for name in COMPANIONS if (text := _read(folder or ".", name)) is not None}
    return TextTokenizer(definition, special.eos_id(eos), special.bos_id(bos), companions)


def _read(folder: str, name: str) -> str | None:
    file = storage.join(folder, name)
    if not storage.exists(file):
        return None
    try:
        return storage.read_bytes(file, LARGEST_FILE_BYTES).decode()
    except UnicodeDecodeError:
        raise DataError(file, "", "must be UTF-8", "Fetch it anew") from None


def _configuration(folder: str, name: str) -> dict[str, Any]:
    try:
        content = json.loads(_read(folder, name) or "{}")
    except ValueError as error:
        raise DataError(storage.join(folder, name), str(error), "must be JSON", "Fetch it anew") from None
    return content if isinstance(content, dict) else {}


class SpecialTokens:
    """The ids that begin and end a document.

    Args:
        library: The `tokenizers.Tokenizer`.
        configurations: The folder's configuration files, the most trusted first.
    """

    def __init__(self, library: Any, configurations: Sequence[Mapping[str, Any]]) -> None:
        self.library, self.configurations = library, configurations

    def eos_id(self, wanted: str | int | None) -> int:
        """The id of `wanted`, or of what the configuration names.

        Raises:
            DataError: There is none.
        """
        found = self._configured("eos") if wanted is None else self._id(wanted)
        if found is None:
            rule = "no configuration names the token that ends a document" if wanted is None else "is not in the vocabulary"
            raise DataError("tokenizer.eos", str(wanted), rule, "Name a token of the vocabulary: tokenizer.eos='<|endoftext|>' or its id")
        return found

    def bos_id(self, wanted: bool | None) -> int | None:
        """The id that begins a document, or None.

        Raises:
            DataError: One is asked for and there is none, or the post-processor begins with several.
        """
        if wanted is False:
            return None
        prefix = self._prefix()
        if len(prefix) > 1:
            raise DataError("tokenizer.bos", str(prefix), "the tokenizer begins a text with several tokens", "Set tokenizer.bos=false")
        found = prefix[0] if prefix else self._configured("bos") if wanted else None
        if wanted and found is None:
            raise DataError("tokenizer.bos", "true", "the tokenizer names no token that begins a text", "Set tokenizer.bos=false")
        return found

    def _prefix(self) -> list[int]:
        """What the post-processor puts before a text."""
        plain = self.library.encode("a", add_special_tokens=False).ids
        whole = self.library.encode("a", add_special_tokens=True).ids
        begins = (n for n in range(len(whole) - len(plain) + 1) if whole[n : n + len(plain)] == plain)
        return list(whole[: next(begins, 0)])

    def _configured(self, name: str) -> int | None:
        for configuration in self.configurations:
            for value in (configuration.get(f"{name}_token_id"), configuration.get(f"{name}_token")):
                first = value[0] if isinstance(value, list) and value else value
                found = self._id(first["content"] if isinstance(first, dict) and "content" in first else first)
                if found is not None:
                    return found
        return None

    def _id(self, token: object) -> int | None:
        if isinstance(token, str):
            found: int | None = self.library.token_to_id(token)
            return found
        if isinstance(token, int) and not isinstance(token, bool):
            return token if self.library.id_to_token(token) is not None else None
        return None
