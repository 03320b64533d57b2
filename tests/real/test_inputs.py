"""The real inputs are what they say they are."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

pytestmark = pytest.mark.real


def texts(path: Path) -> list[str]:
    return [json.loads(line)["text"] for line in path.read_text("utf-8").splitlines()]


def test_the_model_is_a_plain_hugging_face_folder(smollm2: Path) -> None:
    assert {path.name for path in smollm2.iterdir()} >= {"config.json", "generation_config.json", "model.safetensors", "tokenizer.json"}
    config = json.loads((smollm2 / "config.json").read_text())
    assert (config["model_type"], config["dtype"], config["vocab_size"]) == ("llama", "float32", 49152)
    assert "quantization_config" not in config


def test_the_manual_is_clean_prose_and_no_held_out_page_is_trained_on(manual: Path) -> None:
    train, heldout = texts(manual / "train.jsonl"), texts(manual / "heldout.jsonl")
    assert len(heldout) == 30
    assert not set(train) & set(heldout)
    assert not any("</" in text or "Prev Up" in text for text in train + heldout)


def test_the_trained_part_of_the_manual_holds_120_thousand_tokens(manual: Path, smollm2: Path) -> None:
    tokenizers = pytest.importorskip("tokenizers")
    tokenizer = tokenizers.Tokenizer.from_file(str(smollm2 / "tokenizer.json"))
    assert 110_000 < sum(len(tokenizer.encode(text).ids) for text in texts(manual / "train.jsonl")) < 140_000


def test_general_text_is_a_chapter_a_document(general: Path) -> None:
    chapters = texts(general / "heldout.jsonl")
    assert len(chapters) > 15
    assert not any(character.isdigit() for text in chapters for character in text)
