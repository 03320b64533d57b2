"""Documents that are typed, not stored."""

import hashlib
from collections.abc import Iterator, Sequence

from pydantic import BaseModel, ConfigDict

from cpt.contracts import DataSource


class EchoOptions(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")
    times: int = 1


class EchoSource(DataSource):
    """Each location is itself the text of a document."""

    Options = EchoOptions
    options: EchoOptions

    def fingerprint(self, locations: Sequence[str]) -> str:
        return hashlib.sha256(repr(list(self.documents(locations))).encode()).hexdigest()

    def documents(self, locations: Sequence[str]) -> Iterator[str]:
        for text in sorted(locations):
            yield text * self.options.times
