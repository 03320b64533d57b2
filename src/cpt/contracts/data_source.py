"""What a data source must offer: documents, by location."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence

from pydantic import BaseModel, JsonValue

from cpt.contracts.options import NoOptions


class DataSource(ABC):
    """Documents by location. What a location means (a file, a table, a name) is the source's own affair.

    Args:
        options: The recipe's `data.options`, validated by `Options`.
    """

    Options: type[BaseModel] = NoOptions

    def __init__(self, options: BaseModel) -> None:
        self.options = options

    @abstractmethod
    def fingerprint(self, locations: Sequence[str]) -> str:
        """SHA-256 (hex) of the content behind `locations`, whatever its path: equal content, equal fingerprint.

        Raises:
            DataError: Something is missing or invalid; every fault found.
        """

    @abstractmethod
    def documents(self, locations: Sequence[str]) -> Iterator[str]:
        """The texts, in an order that only the content decides."""

    def parts(self, locations: Sequence[str], count: int) -> Sequence[JsonValue]:  # noqa: ARG002  a source may be one part
        """About `count` parts of the documents, for as many processes of any machine that reaches the locations; by default a single one.

        The texts of all parts, one after the other, are those of `documents`; content and `count` alone decide which stand in which.
        A part is plain JSON, and brings what `part_documents` needs to see that its content has changed since.

        Raises:
            DataError: As `fingerprint`.
        """
        return [list(locations)]

    def part_documents(self, part: JsonValue) -> Iterator[str]:
        """The texts of one of the `parts`; another instance, in another process, may have made it.

        Raises:
            DataError: The content is no longer what it was.
        """
        assert isinstance(part, list)
        return self.documents([str(location) for location in part])

    def size_bytes(self, locations: Sequence[str]) -> int | None:  # noqa: ARG002  sources that can tell override it
        """About how many bytes of text there are, found without reading them; None where that cannot be known. For plans."""
        return None
