"""How long work says how far it is."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Called now and then during long work over data; cheap and never in charge of it."""

    def __call__(self, stage: str, documents: int, size_bytes: int) -> None:
        """`documents` and `size_bytes` of input are done in `stage` (`validate`, `tokenise <set>`)."""


def silent(stage: str, documents: int, size_bytes: int) -> None:
    """A `Progress` that nobody watches."""
