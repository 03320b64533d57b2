"""Stores of made-up documents."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from hypothesis import settings

from cpt.data.store import DocumentSet, build_store
from cpt.data.tokenizer import bytes_tokenizer

settings.register_profile("shared_machine", deadline=None, max_examples=50)
settings.load_profile("shared_machine")


@pytest.fixture(scope="session")
def make_documents(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Sequence[int]], DocumentSet]:
    """Lengths in bytes to documents of a store of bytes; no two tokens in a row are alike, nor two documents of one length."""
    root: Path = tmp_path_factory.mktemp("stores")

    def make(lengths: Sequence[int]) -> DocumentSet:
        texts = ["".join(chr(33 + (7 * place + 3 * number) % 90) for place in range(length)) for number, length in enumerate(lengths)]
        fingerprint = hashlib.sha256(json.dumps(texts).encode()).hexdigest()
        return build_store(texts, fingerprint, bytes_tokenizer(), root).everything()

    return make
