"""Text files as documents."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from cpt.contracts import DataSource
from cpt.errors import DataError, Fault
from cpt.recipe.frozen import Frozen

__all__ = ["AcmeOptions", "AcmeSource"]


class AcmeOptions(Frozen):
    """The recipe's `data.options`."""

    suffix: str = ".txt"
    """Suffix of the files that count in a folder."""


class AcmeSource(DataSource):
    """A document a file, in the order of the texts' hashes: neither names nor folders decide anything."""

    Options = AcmeOptions
    options: AcmeOptions

    def fingerprint(self, locations: Sequence[str]) -> str:
        """SHA-256 (hex) over the hashes of the texts."""
        return hashlib.sha256("\n".join(map(_digest, self._texts(locations))).encode()).hexdigest()

    def documents(self, locations: Sequence[str]) -> Iterator[str]:
        """The texts."""
        yield from self._texts(locations)

    def size_bytes(self, locations: Sequence[str]) -> int:
        """Bytes of the files."""
        return sum(file.stat().st_size for file in self._files(locations))

    def _texts(self, locations: Sequence[str]) -> list[str]:
        return sorted((file.read_text(encoding="utf-8") for file in self._files(locations)), key=_digest)

    def _files(self, locations: Sequence[str]) -> list[Path]:
        """The files behind `locations`; every one that is missing is a fault."""
        missing = [location for location in locations if not Path(location).exists()]
        if missing:
            raise DataError.of(Fault("data", location, "there is no such file or folder") for location in missing)
        return [file for location in locations for file in self._files_of(Path(location))]

    def _files_of(self, path: Path) -> list[Path]:
        return sorted(path.rglob(f"*{self.options.suffix}")) if path.is_dir() else [path]


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
