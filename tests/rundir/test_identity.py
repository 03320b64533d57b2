"""The same run has the same identity and name; another one's difference is shown."""

from __future__ import annotations

import re

import pytest

from cpt.identity import default_name, difference, identity

PARTS = {"train": {"max_length": 256, "clip_norm": 1.0}, "data": {"sha256": "ab"}, "seed": 1}


def test_the_order_of_keys_does_not_matter_and_every_value_does() -> None:
    assert identity(PARTS) == identity(dict(reversed(PARTS.items())))
    assert re.fullmatch("[0-9a-f]{64}", identity(PARTS))
    assert identity(PARTS) != identity({**PARTS, "seed": 2})
    assert identity(PARTS) != identity({**PARTS, "train": {"max_length": 256, "clip_norm": None}})


@pytest.mark.parametrize("model", ["nova_tiny", "llama3_2_1b", "a" * 60, "Über_Modell.v1", "_", "x_" * 20])
def test_the_default_name_is_legal(model: str) -> None:
    name = default_name(model, identity(PARTS))
    assert re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,32}[a-z0-9])?", name)
    assert name.endswith(f"-{identity(PARTS)[:8]}")


def test_the_default_name_is_the_model_with_dashes() -> None:
    assert default_name("nova_tiny", "5f2c91abcdef") == "nova-tiny-5f2c91ab"


def test_a_difference_is_a_line_a_key() -> None:
    other = {"train": {"max_length": 512, "clip_norm": 1.0}, "data": {"sha256": "ab", "rows": 3}}
    assert difference(PARTS, other) == ["train.max_length: 256 → 512", "seed: 1 → absent", "data.rows: absent → 3"]
    assert difference(PARTS, PARTS) == []
