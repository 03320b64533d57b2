"""`eval`, `generate` and `export` refuse what cannot be measured or written, before any process is started."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import cpt
from cpt import api, storage
from cpt.errors import DataError, StorageError, UserError
from cpt.recipe.architecture import Architecture


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A Hugging Face folder with 300 rows; nobody comes to read its weights."""
    sizes = {"layers": 1, "width": 8, "heads": 1, "kv_heads": 1, "head_width": 8, "ffn_width": 8, "vocabulary": 300, "positions": 64}
    architecture = Architecture(family="llama", rope_theta=1e4, norm_eps=1e-5, tied_embeddings=True, **sizes)
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(architecture.to_hf_config()))
    return folder


@pytest.mark.parametrize("length", [-3, 0, 1])
def test_a_window_holds_two_tokens_or_more(model: Path, length: int) -> None:
    with pytest.raises(UserError, match="between 2 and"):
        cpt.evaluate(str(model), {}, max_length=length)


def test_a_set_with_nothing_to_predict_is_named(model: Path, tmp_path: Path) -> None:
    (tmp_path / "empty.jsonl").write_text('{"text": ""}\n')
    with pytest.raises(DataError, match=r"mine=.*no token to predict"):
        cpt.evaluate(str(model), {"mine": str(tmp_path / "empty.jsonl")})


def test_bytes_do_not_take_the_place_of_a_tokenizer_that_cannot_be_read(model: Path) -> None:
    (model / "tokenizer.model").write_bytes(b"sentencepiece")
    with pytest.raises(DataError, match=r"tokenizer\.json"):
        api.generate(str(model), "text")


def test_a_tokenizer_larger_than_the_model_is_refused(model: Path) -> None:
    config = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps(config | {"vocab_size": 100}))
    with pytest.raises(DataError, match="vocabulary has 100"):
        api.generate(str(model), "text")


def test_export_says_where_it_cannot_write(model: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="file"):
        api.export(str(model), str(tmp_path / "file"))


def test_export_does_not_empty_a_folder_of_other_things(model: Path, s3: str) -> None:
    storage.write_bytes(f"{s3}/mine/notes.txt", b"mine")
    with pytest.raises(StorageError, match=r"notes\.txt"):
        api.export(str(model), f"{s3}/mine")
    assert storage.read_bytes(f"{s3}/mine/notes.txt") == b"mine"
