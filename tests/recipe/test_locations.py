"""What a path or URL in a recipe may look like."""

from __future__ import annotations

import pytest

from cpt.recipe.locations import location_fault

KEYS = ("run.output", "data.train", "data.validation", "data.store", "tokenizer.path", "model.init")
SAFE = [
    "a.jsonl",
    "../a b/c*.jsonl",
    "/tmp/x",
    "~/x",
    "ORG/name",
    "s3://bucket/a@b/key.jsonl",
    "gs://b/k",
    "az://container/k",
    "hf://datasets/org/name@main/x",
    "file:///tmp/x",
    "a:b",
    "ü/文",
]
HOSTILE = [
    "",
    "  ",
    "http://host/x",
    "https://host/x",
    "ssh://host/x",
    "github://a:b@/x",
    "S3://bucket/x",
    "data:text/plain,x",
    "DATA:,x",
    "zip://a.jsonl::s3://b/c.zip",
    "a::b",
    "simplecache::s3://b/c",
    "s3://key:secret@bucket/x",
    "s3://user@bucket/x",
    "s3:///key",
    "s3://",
    "file://host/x",
    "a\nb",
    "a\0b",
    "a\x1b[31m",
    "a\u2028b",
    "a\udcffb",
    "x y://b/c",
]


@pytest.mark.parametrize("text", SAFE)
def test_a_plain_location_passes(text: str) -> None:
    assert location_fault("data.train", text) is None


@pytest.mark.parametrize("text", HOSTILE)
@pytest.mark.parametrize("key", KEYS)
def test_a_hostile_location_is_refused_at_every_key(tree, faults, key: str, text: str) -> None:
    found = faults(tree("model=nova_lite", **{"tokenizer__name": "file", "tokenizer__path": "x", key.replace(".", "__"): text}))
    assert list(found) == [key]
    assert str(found[key]).isprintable()


@pytest.mark.parametrize("value", [["a.jsonl", "http://h/x"], {"one": "a.jsonl", "two": ["http://h/x"]}])
def test_every_location_of_a_list_or_set_is_looked_at(tree, faults, value: object) -> None:
    (where,) = faults(tree(data__validation=value))
    assert where.startswith("data.validation")


def test_a_secret_in_a_url_is_not_shown() -> None:
    for url in ("s3://key:secret@bucket/x", "https://me:secret@host/x", "zip://a::ftp://me:secret@h/x"):
        assert "secret" not in str(location_fault("run.output", url))


def test_an_empty_list_names_nothing(tree, faults) -> None:
    assert list(faults(tree(data__train=[]))) == ["data.train"]
