"""The sample data: real text that every Python has, split by file, the same every time."""

from __future__ import annotations

import pytest

from cpt.contracts import NoOptions
from cpt.data import sample
from cpt.data.sample import COLLECTIONS, SampleSource, collection
from cpt.errors import DataError


def source() -> SampleSource:
    return SampleSource(NoOptions())


@pytest.mark.parametrize(
    ("name", "low_bytes", "high_bytes"),
    [
        ("python_source/train", 1_100_000, 1_400_000),
        ("english_prose/train", 1_000_000, 3_000_000),
        ("python_source/held_out", 25_000, 60_000),
        ("english_prose/held_out", 25_000, 60_000),
    ],
)
def test_collections_have_sensible_sizes(name: str, low_bytes: int, high_bytes: int) -> None:
    texts = list(source().documents([name]))
    assert low_bytes < sum(len(text.encode()) for text in texts) < high_bytes
    assert max(map(len, texts)) <= (8_000 if name.endswith("train") else 800)
    assert len(texts) >= 40
    assert all(text.strip() for text in texts)


def test_held_out_text_stands_in_no_training_text() -> None:
    training = "\n".join(text for name in COLLECTIONS if name.endswith("/train") for text in collection(name))
    held_out = [text.strip() for name in COLLECTIONS if name.endswith("/held_out") for text in collection(name)]
    assert [text for text in held_out if text in training] == []


def test_the_same_text_every_time() -> None:
    names = list(COLLECTIONS)
    assert source().fingerprint(names) == source().fingerprint(names[::-1])
    assert len({source().fingerprint([name]) for name in names}) == len(names)


def test_source_is_python_and_prose_is_not_indented() -> None:
    assert sum("def " in text for text in collection("python_source/train")) > len(collection("python_source/train")) * 0.7
    lines = [line for text in collection("english_prose/train") for line in text.splitlines() if line]
    assert sum(line.startswith(" ") for line in lines) < len(lines) / 2
    assert "\n***" not in "\n".join(sample.topics(held_out=False))


def test_an_unknown_collection_names_those_there_are() -> None:
    with pytest.raises(DataError, match=r"python_sauce: is no collection.*python_source/train"):
        source().fingerprint(["python_sauce"])


def test_a_python_without_source_is_told_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sample, "files", tuple)
    monkeypatch.setattr(sample, "topics", lambda held_out: [])
    collection.cache_clear()
    for name in COLLECTIONS:
        with pytest.raises(DataError, match="data=jsonl"):
            source().fingerprint([name])
    collection.cache_clear()


def test_splitting_keeps_all_words_and_prefers_definitions() -> None:
    text = "import a\n\n\ndef one():\n    pass\n\n\n@decorated\ndef two():\n" + "    x = 1\n" * 50
    pieces = sample.split(text, 200)
    assert "".join(pieces).split() == text.split()
    assert pieces[0] == "import a\n\n\ndef one():\n    pass\n"
    assert max(map(len, pieces)) <= 200
