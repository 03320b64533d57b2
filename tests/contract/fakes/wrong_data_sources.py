"""A data source that keeps its contract, and some that do not: each with one defect, and the test that must catch it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

from numpy import str_
from pydantic import BaseModel, ConfigDict, JsonValue

from cpt.contracts import DataSource
from cpt.errors import DataError, Fault
from cpt.recipe.frozen import Frozen
from cpt.testing import DataSourceContract


class Options(Frozen):
    limit: int = 10


class Unrelated:
    """Does all that a data source does, and is none."""

    caught_by = "test_it_is_of_its_contracts_class"
    Options: type[BaseModel] = Options

    def __init__(self, options: BaseModel) -> None:
        self.options = options

    def fingerprint(self, locations: Sequence[str]) -> str:
        return digest(self.texts(locations))

    def documents(self, locations: Sequence[str]) -> Iterator[str]:
        yield from self.texts(locations)

    def texts(self, locations: Sequence[str]) -> list[str]:
        missing = [location for location in locations if not Path(location).is_file()]
        if missing:
            raise DataError.of(Fault("data", location, "is not a file") for location in missing)
        return sorted(text for location in locations for text in read(location))

    def parts(self, locations: Sequence[str], count: int) -> Sequence[JsonValue]:
        seen = digest(self.texts(locations))
        ranges = pairwise(self.cuts(locations, count))
        return [{"locations": list(locations), "begin": begin, "end": end, "seen": seen} for begin, end in ranges]

    def part_documents(self, part: JsonValue) -> Iterator[str]:
        self.unchanged(part)
        yield from list(self.documents(part["locations"]))[part["begin"] : part["end"]]

    def unchanged(self, part: JsonValue) -> list[str]:
        texts = self.texts(part["locations"])
        if digest(texts) != part["seen"]:
            raise DataError("data", "", "has changed since")
        return texts

    def cuts(self, locations: Sequence[str], count: int) -> list[int]:
        return [len(self.texts(locations)) * number // count for number in range(count + 1)]

    def size_bytes(self, locations: Sequence[str]) -> int | None:
        return None


class Good(Unrelated, DataSource):
    """Files that are JSON lists of texts."""

    caught_by = ""


def read(location: str) -> list[str]:
    return list(json.loads(Path(location).read_text()))


def digest(content: object) -> str:
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


class ShortFingerprint(Good):
    caught_by = "test_a_fingerprint_is_a_sha256_in_hex"

    def fingerprint(self, locations: Sequence[str]) -> str:
        return digest(self.texts(locations))[:32]


class CountedFingerprint(Good):
    caught_by = "test_a_fingerprint_is_the_same_each_time"
    asked = 0

    def fingerprint(self, locations: Sequence[str]) -> str:
        self.asked += 1
        return digest([self.asked, self.texts(locations)])


class PathInFingerprint(Good):
    caught_by = "test_the_same_content_elsewhere_has_the_same_fingerprint"

    def fingerprint(self, locations: Sequence[str]) -> str:
        return digest([sorted(locations), self.texts(locations)])


class HastyFingerprint(Good):
    caught_by = "test_changed_content_changes_the_fingerprint"

    def fingerprint(self, locations: Sequence[str]) -> str:
        return digest(self.texts(locations)[:2])


class BorderlessFingerprint(Good):
    caught_by = "test_another_border_between_documents_changes_the_fingerprint"

    def fingerprint(self, locations: Sequence[str]) -> str:
        return digest("".join(self.texts(locations)))


class NumpyTexts(Good):
    caught_by = "test_documents_are_texts"

    def documents(self, locations: Sequence[str]) -> Iterator[str]:
        yield from map(str_, self.texts(locations))


class OneLiners(Good):
    caught_by = "test_documents_are_what_was_written"

    def documents(self, locations: Sequence[str]) -> Iterator[str]:
        yield from (text.replace("\n", " ") for text in self.texts(locations))


class OtherWayRound(Good):
    caught_by = "test_documents_come_in_the_same_order_each_time"
    backwards = False

    def documents(self, locations: Sequence[str]) -> Iterator[str]:
        self.backwards = not self.backwards
        yield from sorted(self.texts(locations), reverse=self.backwards)


class AsNamed(Good):
    caught_by = "test_the_order_of_locations_decides_nothing"

    def documents(self, locations: Sequence[str]) -> Iterator[str]:
        for location in locations:
            yield from read(location)


class FingerprintAsNamed(Good):
    caught_by = "test_the_order_of_locations_decides_nothing"

    def fingerprint(self, locations: Sequence[str]) -> str:
        return digest([self.texts(locations), *map(read, locations)])


class ByPath(Good):
    caught_by = "test_where_documents_lie_decides_no_order"

    def documents(self, locations: Sequence[str]) -> Iterator[str]:
        for location in sorted(locations):
            yield from sorted(read(location))

    def part_documents(self, part: JsonValue) -> Iterator[str]:
        yield from self.unchanged(part)[part["begin"] : part["end"]]


class ShortParts(Good):
    caught_by = "test_the_parts_are_the_documents"

    def parts(self, locations: Sequence[str], count: int) -> Sequence[JsonValue]:
        return Good.parts(self, locations, count)[:40]


class PartsByPath(Good):
    caught_by = "test_where_documents_lie_decides_no_part"

    def cuts(self, locations: Sequence[str], count: int) -> list[int]:
        return [0, len(read(min(locations))), len(self.texts(locations))]


class PartsUnseen(Good):
    caught_by = "test_a_part_whose_content_has_changed_is_refused"

    def part_documents(self, part: JsonValue) -> Iterator[str]:
        yield from self.texts(part["locations"])[part["begin"] : part["end"]]


class SizeInMegabytes(Good):
    caught_by = "test_a_size_is_known_in_bytes_or_not_at_all"

    def size_bytes(self, locations: Sequence[str]) -> int:
        return sum(map(len, self.texts(locations))) / 1e6  # type: ignore[return-value]


class MissingIsPythons(Good):
    caught_by = "test_every_missing_location_is_a_fault"

    def texts(self, locations: Sequence[str]) -> list[str]:
        return sorted(text for location in locations for text in read(location))


class MissingOneByOne(Good):
    caught_by = "test_every_missing_location_is_a_fault"

    def texts(self, locations: Sequence[str]) -> list[str]:
        return sorted(text for location in locations for text in Good.texts(self, [location]))


class ThawedOptions(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")
    limit: int = 10


class Thawed(Good):
    caught_by = "test_its_options_are_frozen"
    Options = ThawedOptions


class OpenOptions(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True)
    limit: int = 10


class Open(Good):
    caught_by = "test_an_unknown_option_is_refused"
    Options = OpenOptions


class LaxOptions(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")
    limit: int = 10


class Lax(Good):
    caught_by = "test_no_option_is_converted_silently"
    Options = LaxOptions


class WrongDefaultOptions(Frozen):
    limit: int = "ten"  # type: ignore[assignment]


class WrongDefault(Good):
    caught_by = "test_its_options_survive_being_saved"
    Options = WrongDefaultOptions


class Suite(DataSourceContract):
    plugin = Good

    def write(self, folder: Path, texts: Sequence[str]) -> Sequence[str]:
        folder.mkdir(parents=True, exist_ok=True)
        file = folder / "texts.json"
        file.write_text(json.dumps(texts))
        return [str(file)]
