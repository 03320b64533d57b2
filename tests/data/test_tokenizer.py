"""Tokenizers give the ids that transformers gives, end documents as configured, and survive being saved."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

from cpt.data.tokenizer import TextTokenizer, bytes_tokenizer, load_tokenizer
from cpt.errors import DataError

HARD_TEXTS = [
    "",
    " ",
    "a",
    "  leading and trailing  ",
    "tab\tnew\nline\r\n\r\n\n",
    "naïve café ﬁ ½ ² Ⅷ",
    "e\u0301 vs é, \u212b vs Å",
    "日本語のテキスト 한국어 ไทย العربية עברית हिन्दी",
    "😀👩‍👩‍👧‍👦🇩🇪 \U0010ffff",
    "\0\x01\x7f\x80\u200b\u2028\ufeff\ufffd",
    "1234567890 3.14159 0x1F600 1e-6",
    "don't we'll I'M it'S",
    "def f(x):\n    return x  # comment\n\n\n",
    "<|begin|>a<|endoftext|>b<|end|><s></s><unk>",
    "Ġ Ċ ▁ ## </w>",
    "a" * 3000,
]
ANY_TEXT = st.text(st.characters(exclude_categories=["Cs"]))


def train_bpe(folder: Path, **configuration: Any) -> Path:
    """A small byte-level BPE with a normaliser, a pre-tokeniser that splits digits, and a post-processor that puts BOS first."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    split = pre_tokenizers.Split(Regex(r"\p{N}{1,3}| ?\p{L}+|\s+|[^\s\p{L}\p{N}]+"), "isolated")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([split, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    tokenizer.decoder = decoders.ByteLevel()
    special = ["<|begin|>", "<|endoftext|>", "<|end|>"]
    trainer = trainers.BpeTrainer(
        vocab_size=400, special_tokens=special, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    tokenizer.train_from_iterator(HARD_TEXTS * 3, trainer)
    begin = [("<|begin|>", tokenizer.token_to_id("<|begin|>"))]
    tokenizer.post_processor = processors.TemplateProcessing("<|begin|> $A", "<|begin|> $A $B", begin)
    tokenizer.enable_truncation(5)
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    for name, content in configuration.items():
        (folder / f"{name}.json").write_text(json.dumps(content))
    return folder


@pytest.fixture(scope="module")
def bpe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train_bpe(tmp_path_factory.mktemp("bpe"), tokenizer_config={"eos_token": "<|endoftext|>"})


def from_transformers(folder: Path) -> Any:
    from transformers import AutoTokenizer  # noqa: PLC0415  seconds to import

    return AutoTokenizer.from_pretrained(str(folder))


@given(ANY_TEXT)
def test_bytes_are_the_bytes_of_the_text(text: str) -> None:
    tokenizer = bytes_tokenizer()
    (document,) = tokenizer.encode_documents([text])
    assert document.tolist() == [*text.encode(), 256]
    assert tokenizer.encode(text) == [*text.encode()]
    assert tokenizer.decode(document) == text


def test_bytes_agree_with_their_own_tokenizer_json() -> None:
    tokenizer = bytes_tokenizer()
    for text in HARD_TEXTS:
        assert tokenizer.library.encode(text).ids == tokenizer.encode(text)


def test_transformers_opens_the_saved_bytes_and_agrees(tmp_path: Path) -> None:
    tokenizer = bytes_tokenizer()
    tokenizer.save(tmp_path)
    theirs = from_transformers(tmp_path)
    assert (theirs.eos_token_id, len(theirs), theirs.bos_token_id) == (256, 257, None)
    for text in HARD_TEXTS:
        assert theirs(text, split_special_tokens=True)["input_ids"] == tokenizer.encode(text)
        assert theirs.decode(tokenizer.encode(text), clean_up_tokenization_spaces=False) == text


def test_transformers_agrees_on_a_trained_bpe_before_and_after_saving(bpe: Path, tmp_path: Path) -> None:
    tokenizer = load_tokenizer(bpe)
    tokenizer.save(tmp_path)
    for folder in (bpe, tmp_path):
        theirs = from_transformers(folder)
        for text, document in zip(HARD_TEXTS, tokenizer.encode_documents(HARD_TEXTS), strict=True):
            expected = theirs(text, split_special_tokens=True, truncation=False)["input_ids"]
            assert tokenizer.encode(text) == expected
            assert document.tolist() == [*expected, theirs.eos_token_id]
            assert document.dtype == np.uint32


def test_special_strings_in_a_text_are_text(bpe: Path) -> None:
    tokenizer = load_tokenizer(bpe)
    for text in ("<|endoftext|>", "a<|begin|>b"):
        ids = tokenizer.encode(text)
        assert set(ids[1:]).isdisjoint({tokenizer.eos_id, tokenizer.bos_id})
        assert tokenizer.decode(ids) == text


def test_what_is_opened_again_is_the_same(bpe: Path, tmp_path: Path) -> None:
    (bpe / "chat_template.jinja").write_text("{{ messages }}")
    first = load_tokenizer(bpe)
    first.save(tmp_path)
    second = TextTokenizer.open(tmp_path, first.eos_id, first.bos_id)
    assert second.sha256 == first.sha256 == load_tokenizer(tmp_path / "tokenizer.json").sha256
    assert second.vocabulary == first.vocabulary == 400
    assert (tmp_path / "chat_template.jinja").exists()


def test_saving_never_asks_for_remote_code(tmp_path: Path) -> None:
    folder = train_bpe(tmp_path / "a", tokenizer_config={"eos_token": "<|end|>", "auto_map": {"AutoTokenizer": ["evil.Tokenizer", None]}})
    load_tokenizer(folder).save(tmp_path / "b")
    assert "auto_map" not in json.loads((tmp_path / "b" / "tokenizer_config.json").read_text())


@pytest.mark.parametrize(
    ("configuration", "eos"),
    [
        (
            {
                "generation_config": {"eos_token_id": [2, 1]},
                "config": {"eos_token_id": 1},
                "tokenizer_config": {"eos_token": "<|endoftext|>"},
            },
            2,
        ),
        ({"generation_config": {}, "config": {"eos_token_id": 1}, "tokenizer_config": {"eos_token": "<|end|>"}}, 1),
        ({"config": {"eos_token_id": None}, "tokenizer_config": {"eos_token": {"content": "<|end|>", "special": True}}}, 2),
        ({"config": {"eos_token_id": 5_000}, "tokenizer_config": {"eos_token": "<|end|>"}}, 2),
    ],
)
def test_eos_comes_from_the_most_trusted_file_that_names_one(tmp_path: Path, configuration: dict[str, Any], eos: int) -> None:
    folder = train_bpe(tmp_path, **configuration)
    assert load_tokenizer(folder).eos_id == eos
    assert load_tokenizer(folder, eos="<|begin|>").eos_id == 0
    assert load_tokenizer(folder, eos=7).eos_id == 7


def test_no_eos_is_an_error_that_names_the_key(tmp_path: Path) -> None:
    folder = train_bpe(tmp_path)
    for eos in (None, "<|nowhere|>", 400):
        with pytest.raises(DataError, match=r"tokenizer\.eos"):
            load_tokenizer(folder, eos=eos)


def test_bos_is_the_post_processors_unless_asked_otherwise(bpe: Path, tmp_path: Path) -> None:
    assert load_tokenizer(bpe).bos_id == 0
    assert load_tokenizer(bpe, bos=True).bos_id == 0
    assert load_tokenizer(bpe, bos=False).bos_id is None
    assert load_tokenizer(bpe, bos=False).encode("a") == load_tokenizer(bpe).encode("a")[1:]
    bytes_tokenizer().save(tmp_path)
    assert load_tokenizer(tmp_path).bos_id is None
    with pytest.raises(DataError, match=r"tokenizer\.bos"):
        load_tokenizer(tmp_path, bos=True)


def test_all_that_decides_ids_decides_the_hash(bpe: Path, tmp_path: Path) -> None:
    hashes = {
        load_tokenizer(bpe).sha256,
        load_tokenizer(bpe, bos=False).sha256,
        load_tokenizer(bpe, eos=2).sha256,
        bytes_tokenizer().sha256,
    }
    definition = json.loads((bpe / "tokenizer.json").read_text())
    for name, value in (("normalizer", None), ("decoder", None), ("truncation", None)):
        (tmp_path / "tokenizer.json").write_text(json.dumps(definition | {name: value}))
        hashes.add(load_tokenizer(tmp_path, eos="<|endoftext|>").sha256)
    assert len(hashes) == 5


def test_broken_and_missing_tokenizers_are_one_line_each(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="must be a tokenizer"):
        load_tokenizer(tmp_path)
    (tmp_path / "tokenizer.json").write_text('{"version": "1.0"}')
    with pytest.raises(DataError, match="is not a tokenizer"):
        load_tokenizer(tmp_path)
    (tmp_path / "tokenizer.json").write_bytes(b"\xff")
    (tmp_path / "config.json").write_text("[1]")
    with pytest.raises(DataError, match="must be UTF-8"):
        load_tokenizer(tmp_path / "tokenizer.json")
    (tmp_path / "tokenizer.json").write_text(bytes_tokenizer().definition)
    with pytest.raises(DataError, match=r"config\.json.*must be a JSON object"):
        load_tokenizer(tmp_path)


def test_what_was_decided_by_hand_is_what_is_saved(bpe: Path, tmp_path: Path) -> None:
    for number, bos in enumerate((True, False)):
        first = load_tokenizer(bpe, bos=bos, eos="<|end|>")
        first.save(tmp_path / str(number))
        second, theirs = load_tokenizer(tmp_path / str(number)), from_transformers(tmp_path / str(number))
        assert (second.sha256, second.eos_id) == (first.sha256, 2)
        assert theirs("a b")["input_ids"] == first.encode("a b")
        assert theirs.eos_token_id == 2
