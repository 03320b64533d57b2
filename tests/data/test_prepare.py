"""From a recipe to documents to train and to validate on."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cpt.composition import compose
from cpt.data.prepare import Prepared, prepare
from cpt.data.store import DocumentSet
from cpt.data.tokenizer import bytes_tokenizer
from cpt.errors import DataError, PluginError, RecipeError
from cpt.recipe.schema import Recipe


def write(path: Path, texts: list[str]) -> str:
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    return str(path)


def recipe_of(train: str | None, *overrides: str) -> Recipe:
    return compose(["data=jsonl", f"data.train={train or 'null'}", *overrides]).recipe


def prepared(train: str, *overrides: str, base: Path | None = None) -> Prepared:
    return prepare(recipe_of(train, *overrides), base)


def texts_of(documents: DocumentSet) -> list[str]:
    decode = bytes_tokenizer().decode
    return [decode(documents.store.document(int(index))) for index in documents.indices]


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


@pytest.mark.parametrize(("documents", "held_out"), [(2, 1), (99, 1), (250, 2), (1_000, 10), (30_000, 200)])
def test_the_lowest_hashes_are_held_out(tmp_path: Path, documents: int, held_out: int) -> None:
    texts = [f"document {number}" for number in range(documents)]
    found = prepared(write(tmp_path / "a.jsonl", texts))
    expected = set(sorted(texts, key=sha256)[:held_out])
    assert set(texts_of(found.validation["held_out"])) == expected
    assert sorted(texts_of(found.train)) == sorted(set(texts) - expected)
    assert (found.documents, list(found.validation)) == (documents - held_out, ["held_out"])


def test_duplicates_are_held_out_together(tmp_path: Path) -> None:
    texts = sorted((f"document {number}" for number in range(150)), key=sha256)
    found = prepared(write(tmp_path / "a.jsonl", [texts[0], *texts, texts[0], texts[1]]))
    assert texts_of(found.validation["held_out"]) == [texts[0]] * 3
    assert found.documents == 150


def test_nothing_left_to_train_on_is_an_error(tmp_path: Path) -> None:
    for number, texts in enumerate((["only"], ["same", "same"], ["", "", "text"], [""])):
        with pytest.raises(DataError, match="holds no token to predict"):
            prepared(write(tmp_path / f"{number}.jsonl", texts))


def test_named_sets_keep_their_names_and_a_bare_path_is_the_set_validation(tmp_path: Path) -> None:
    train, one, two = (write(tmp_path / f"{name}.jsonl", [name, name * 2]) for name in ("train", "one", "two"))
    named = prepared(train, f"data.validation={{law: {one}, medicine: [{one}, {two}]}}")
    assert {name: sorted(texts_of(documents)) for name, documents in named.validation.items()} == {
        "law": ["one", "oneone"],
        "medicine": ["one", "oneone", "two", "twotwo"],
    }
    assert list(prepared(train, f"data.validation={one}").validation) == ["validation"]
    assert named.documents == 2


def test_all_faults_of_all_sets_come_at_once(tmp_path: Path) -> None:
    train, validation = write(tmp_path / "train.jsonl", ["a"]), tmp_path / "validation.jsonl"
    Path(train).write_text('{"text": "a"}\noops\n[]\n')
    validation.write_text('{"body": "a"}\n')
    with pytest.raises(DataError) as caught:
        prepared(train, f"data.validation={{a: {validation}, b: {tmp_path}/none.jsonl}}")
    assert [fault.where for fault in caught.value.faults] == [f"{train}:2", f"{train}:3", f"{validation}:1", f"{tmp_path}/none.jsonl"]
    assert not list((tmp_path / "stores").glob("*"))


def test_counts_are_those_of_the_interface(tmp_path: Path) -> None:
    texts = ["abc", "defgh", "xyz"]
    train, validation = write(tmp_path / "a.jsonl", texts), write(tmp_path / "b.jsonl", ["v"])
    found = prepared(train, f"data.validation={validation}", "train.max_length=10")
    assert (found.documents, found.tokens, found.sequences) == (3, 4 + 6 + 4, 2)


def test_another_process_opens_the_same_data(tmp_path: Path) -> None:
    texts = [f"document {number}" for number in range(300)]
    for overrides in ([], [f"data.validation={write(tmp_path / 'v.jsonl', ['v'])}"]):
        first = prepared(write(tmp_path / "a.jsonl", texts), *overrides)
        second = Prepared.from_json(json.loads(json.dumps(first.to_json())))
        assert second.content == first.content
        assert (second.train.indices == first.train.indices).all()
        assert second.plan.packing.sequences == first.sequences
        assert (second.plan.sequences_of_step(5) == first.plan.sequences_of_step(5)).all()
        assert {name: texts_of(documents) for name, documents in second.validation.items()} == {
            name: texts_of(documents) for name, documents in first.validation.items()
        }


def test_data_that_was_validated_elsewhere_is_not_read_again_where_its_store_is(tmp_path: Path) -> None:
    train, general = write(tmp_path / "a.jsonl", ["a", "b"]), write(tmp_path / "g.jsonl", ["g"])
    for overrides in ([], [f"data.validation={{general: {general}}}"]):
        first = prepared(write(tmp_path / "a.jsonl", ["a", "b"]), *overrides)
        known = json.loads(json.dumps(first.fingerprints))
        assert list(known) == ["", "general"][: 1 + len(overrides)]
        Path(train).unlink()
        assert prepare(recipe_of(train, *overrides), None, known_fingerprints=known).content == first.content


def test_where_the_store_is_missing_only_the_validated_content_will_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train = write(tmp_path / "a.jsonl", ["a", "b"])
    first = prepared(train)
    monkeypatch.setenv("CPT_STORE", str(tmp_path / "another"))
    assert prepare(recipe_of(train), None, known_fingerprints=first.fingerprints).content == first.content
    monkeypatch.setenv("CPT_STORE", str(tmp_path / "third"))
    write(Path(train), ["a", "c"])
    with pytest.raises(DataError, match=r"data\.train: .*a\.jsonl: has changed"):
        prepare(recipe_of(train), None, known_fingerprints=first.fingerprints)


def test_content_is_what_decides_the_numbers_and_not_where_it_lies(tmp_path: Path) -> None:
    texts = [f"document {number}" for number in range(10)]
    (tmp_path / "moved").mkdir()
    here, there, other = (
        write(tmp_path / "a.jsonl", texts),
        write(tmp_path / "moved" / "b.jsonl", texts),
        write(tmp_path / "c.jsonl", texts[1:]),
    )
    content = prepared(here).content
    assert prepared(there, f"data.store={tmp_path}/elsewhere").content == content
    assert prepared(other).content != content
    assert prepared(here, "tokenizer.eos=10").content != content
    assert str(tmp_path) not in json.dumps(content)


def test_the_store_is_where_the_recipe_says_else_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = write(tmp_path / "a.jsonl", ["a", "b"])
    monkeypatch.setenv("CPT_STORE", str(tmp_path / "environment"))
    assert prepared(file, f"data.store={tmp_path}/recipe").train.store.folder.parent == tmp_path / "recipe"
    assert prepared(file).train.store.folder.parent == tmp_path / "environment"
    monkeypatch.delenv("CPT_STORE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert prepared(file).train.store.folder.parent == tmp_path / "cache" / "cpt" / "stores"


def base_folder(folder: Path, **files: Any) -> Path:
    folder.mkdir()
    for name, content in files.items():
        (folder / f"{name}.json").write_text(json.dumps(content))
    return folder


def test_the_bases_own_tokenizer_is_taken_and_its_words_fit_the_model(tmp_path: Path) -> None:
    file = write(tmp_path / "a.jsonl", ["a", "b"])
    base = base_folder(tmp_path / "base", config={"vocab_size": 300, "eos_token_id": 10})
    assert prepared(file, base=base).tokenizer.eos_id == 256
    bytes_tokenizer().save(base)
    assert prepared(file, base=base).tokenizer.eos_id == 10
    small = base_folder(tmp_path / "small", config={"vocab_size": 256})
    bytes_tokenizer().save(small)
    with pytest.raises(DataError, match="257 ids"):
        prepare(recipe_of(file).model_copy(update={"model": recipe_of(file).model.model_copy(update={"architecture": None})}), small)


def test_a_base_whose_tokenizer_only_others_read_is_not_given_bytes_unseen(tmp_path: Path) -> None:
    base = base_folder(tmp_path / "base", config={"vocab_size": 300}, vocab={"a": 0})
    file = write(tmp_path / "a.jsonl", ["a", "b"])
    with pytest.raises(DataError, match="tokenizer=bytes"):
        prepared(file, base=base)
    assert prepared(file, "tokenizer=bytes", base=base).tokenizer.vocabulary == 257


def test_what_is_missing_from_the_recipe_is_named(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"data\.train"):
        prepare(recipe_of(None), None)
    file = write(tmp_path / "a.jsonl", ["a", "b"])
    with pytest.raises(RecipeError, match=r"tokenizer\.path"):
        prepared(file, "tokenizer=file")
    with pytest.raises(PluginError, match="parquet"):
        prepared(file, "data.source=parquet")


def test_progress_is_told_of_all_documents(tmp_path: Path) -> None:
    told: list[tuple[str, int, int]] = []
    texts = [f"document {number}" for number in range(2_000)]
    prepare(recipe_of(write(tmp_path / "a.jsonl", texts)), None, lambda *facts: told.append(facts))
    assert told[-1] == ("tokenise", 2_000, sum(map(len, texts)))
    assert (np.diff([documents for _, documents, _ in told]) > 0).all()
