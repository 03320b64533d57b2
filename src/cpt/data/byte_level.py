"""The tokenizer.json of bytes."""

from __future__ import annotations

import json
from typing import Any

END_OF_TEXT = "<|endoftext|>"


def tokenizer_json() -> str:
    """A byte-level BPE without merges: ids 0 to 255 are the bytes, 256 is `<|endoftext|>`."""
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
