"""How long work says how far it is."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Called now and then during long work over data; cheap and never in charge of it."""

    def __call__(self, stage: str, documents: int, size_bytes: int) -> None:
        """`documents` and `size_bytes` of input are done in `stage` (`validate`, `tokenise <set>`)."""


def silent(stage: str, documents: int, size_bytes: int) -> None:
    """A `Progress` that nobody watches."""


def onwards(progress: Progress, before: int, bytes_before: int) -> Progress:
    """`progress` for work of which so many documents and bytes were done before."""

    def tell(stage: str, documents: int, size_bytes: int) -> None:
        progress(stage, before + documents, bytes_before + size_bytes)

    return tell
