"""What a data source promises."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import pytest

from cpt.contracts import DataSource
from cpt.errors import DataError
from cpt.testing.plugin import PluginContract, where

TEXTS = ("A first document.", 'Two lines,\nand "quotes".', "naïve · 日本語 · 🎈", "$(true) ${x} \\n {{y}}", "The last of them.")
CHANGED = (*TEXTS[:-1], "The lost of them.")


def _writes(suite: type[DataSourceContract]) -> bool:
    """Whether content can be written for it."""
    return suite.write is not DataSourceContract.write


class DataSourceContract(PluginContract):
    """Give `plugin` and `write`; where the content is not yours to write, `locations` and `missing` instead."""

    contract = DataSource
    missing: ClassVar[str | None] = "nowhere-to-be-found"
    """A location that is not there; None where every location is one."""

    def write(self, folder: Path, texts: Sequence[str]) -> Sequence[str]:
        """Writes `texts`, a document each, under `folder` as the source reads them, in place of what was there; returns their locations."""
        raise NotImplementedError

    def expected(self, texts: Sequence[str]) -> Sequence[str]:
        """What the source makes of written `texts`: the same, unless it transforms them."""
        return texts

    @pytest.fixture
    def locations(self, tmp_path: Path) -> Sequence[str]:
        """Locations that are there."""
        return self.write(tmp_path, TEXTS)

    def make(self) -> DataSource:
        """A new instance."""
        return self.plugin(self.make_options())  # type: ignore[no-any-return]

    def test_a_fingerprint_is_a_sha256_in_hex(self, locations: Sequence[str]) -> None:
        assert re.fullmatch(r"[0-9a-f]{64}", self.make().fingerprint(locations))

    def test_a_fingerprint_is_the_same_each_time(self, locations: Sequence[str]) -> None:
        source = self.make()
        assert source.fingerprint(locations) == source.fingerprint(locations) == self.make().fingerprint(locations)

    @where(_writes)
    def test_the_same_content_elsewhere_has_the_same_fingerprint(self, tmp_path: Path) -> None:
        assert self._fingerprint(tmp_path / "here", TEXTS) == self._fingerprint(tmp_path / "there" / "deeper", TEXTS)

    @where(_writes)
    def test_changed_content_changes_the_fingerprint(self, tmp_path: Path) -> None:
        assert self._fingerprint(tmp_path, TEXTS) != self._fingerprint(tmp_path, CHANGED)

    @where(_writes)
    def test_another_border_between_documents_changes_the_fingerprint(self, tmp_path: Path) -> None:
        assert self._fingerprint(tmp_path, ["ab", "cd"]) != self._fingerprint(tmp_path, ["abc", "d"])

    def test_documents_are_texts(self, locations: Sequence[str]) -> None:
        documents = list(self.make().documents(locations))
        assert documents
        assert {type(document) for document in documents} == {str}

    @where(_writes)
    def test_documents_are_what_was_written(self, tmp_path: Path) -> None:
        assert sorted(self.make().documents(self.write(tmp_path, TEXTS))) == sorted(self.expected(TEXTS))

    def test_documents_come_in_the_same_order_each_time(self, locations: Sequence[str]) -> None:
        source = self.make()
        assert list(source.documents(locations)) == list(source.documents(locations)) == list(self.make().documents(locations))

    @where(_writes)
    def test_the_order_of_locations_decides_nothing(self, tmp_path: Path) -> None:
        locations = self._scattered(tmp_path)
        assert list(self.make().documents(locations)) == list(self.make().documents(locations[::-1]))
        assert self.make().fingerprint(locations) == self.make().fingerprint(locations[::-1])

    @where(_writes)
    def test_where_documents_lie_decides_no_order(self, tmp_path: Path) -> None:
        here, there = self._scattered(tmp_path / "a"), self._scattered(tmp_path / "z", backwards=True)
        assert list(self.make().documents(here)) == list(self.make().documents(there))

    def test_the_parts_are_the_documents(self, locations: Sequence[str]) -> None:
        """Each is plain JSON, and read by another instance than the one that made it."""
        for count in (1, 2, 3, 50):
            parts = json.loads(json.dumps(self.make().parts(locations, count)))
            assert [text for part in parts for text in self.make().part_documents(part)] == list(self.make().documents(locations))

    @where(_writes)
    def test_where_documents_lie_decides_no_part(self, tmp_path: Path) -> None:
        here, there = self._scattered(tmp_path / "a"), self._scattered(tmp_path / "z", backwards=True)
        assert self._parts(here, 3) == self._parts(there, 3)

    @where(lambda suite: _writes(suite) and suite.plugin.parts is not DataSource.parts)
    def test_a_part_whose_content_has_changed_is_refused(self, tmp_path: Path) -> None:
        parts = self.make().parts(self.write(tmp_path, TEXTS), 2)
        self.write(tmp_path, CHANGED)
        with pytest.raises(DataError):
            [text for part in parts for text in self.make().part_documents(part)]

    def test_a_size_is_known_in_bytes_or_not_at_all(self, locations: Sequence[str]) -> None:
        size_bytes = self.make().size_bytes(locations)
        assert size_bytes is None or (type(size_bytes) is int and size_bytes > 0)

    @where(lambda suite: suite.missing is not None)
    def test_every_missing_location_is_a_fault(self) -> None:
        missing = [f"{self.missing}-1", f"{self.missing}-2"]
        with pytest.raises(DataError) as error:
            self.make().fingerprint(missing)
        assert [location for location in missing if location not in str(error.value)] == []
        assert all(fault.rule for fault in error.value.faults)

    def _parts(self, locations: Sequence[str], count: int) -> list[list[str]]:
        return [list(self.make().part_documents(part)) for part in self.make().parts(locations, count)]

    def _scattered(self, folder: Path, backwards: bool = False) -> list[str]:
        """Locations of `TEXTS` in several folders, whose names are in their order or against it."""
        parts = enumerate([TEXTS[:1], TEXTS[1:3], TEXTS[3:]])
        return [location for number, part in parts for location in self.write(folder / str(9 - number if backwards else number), part)]

    def _fingerprint(self, folder: Path, texts: Sequence[str]) -> str:
        return self.make().fingerprint(self.write(folder, texts))
