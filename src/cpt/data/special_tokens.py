"""Which tokens begin and end a document: read from a tokenizer and the configuration beside it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

from cpt.errors import DataError


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
        if len(self.prefix) > 1:
            raise DataError("tokenizer.bos", str(self.prefix), "the tokenizer begins a text with several tokens", "Set tokenizer.bos=false")
        found = self.prefix[0] if self.prefix else self._configured("bos") if wanted else None
        if wanted and found is None:
            raise DataError("tokenizer.bos", "true", "the tokenizer names no token that begins a text", "Set tokenizer.bos=false")
        return found

    @cached_property
    def prefix(self) -> list[int]:
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


def beginning_with(definition: str, library: Any, bos_id: int | None) -> str:
    """`definition` with a post-processor that puts `bos_id` first, or nothing: so that what is saved does what was trained with."""
    text = {"Sequence": {"id": "A", "type_id": 0}}
    second = {"Sequence": {"id": "B", "type_id": 1}}
    token = library.id_to_token(bos_id) if bos_id is not None else None
    begin = [{"SpecialToken": {"id": token, "type_id": 0}}] if token else []
    post_processor = {
        "type": "TemplateProcessing",
        "single": [*begin, text],
        "pair": [*begin, text, second],
        "special_tokens": {token: {"id": token, "ids": [bos_id], "tokens": [token]}} if token else {},
    }
    return json.dumps(json.loads(definition) | {"post_processor": post_processor}, ensure_ascii=False)
