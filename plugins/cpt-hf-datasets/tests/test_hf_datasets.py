"""Tables that others wrote come back text for text, wherever they lie; what is wrong with one is named."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet as pq
import pytest

from cpt.contracts import DataSource
from cpt.errors import DataError
from cpt_hf_datasets import HfDatasetsOptions, HfDatasetsSource

TEXTS = [f"document {number} naïve 😀 " * (number % 7) for number in range(2_500)]


def source(text: str = "text", split: str | None = None, batch_rows: int = 100) -> DataSource:
    return HfDatasetsSource(HfDatasetsOptions(text=text, split=split, batch_rows=batch_rows))


def parquet(path: Path, texts: Sequence[str | None] = TEXTS, **settings: object) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table({"id": range(len(texts)), "text": list(texts)}), path, **settings)
    return str(path)


def saved(folder: Path, texts: Sequence[str] = TEXTS, shards: int = 1) -> str:
    from datasets import Dataset  # noqa: PLC0415  seconds to import

    Dataset.from_dict({"text": list(texts), "length": [len(text) for text in texts]}).save_to_disk(str(folder), num_shards=shards)
    return str(folder)


def faults(locations: Sequence[str], **options: str) -> list[str]:
    with pytest.raises(DataError) as caught:
        source(**options).fingerprint(locations)
    return [str(fault) for fault in caught.value.faults]


def test_what_datasets_saved_is_read_as_it_reads_it(tmp_path: Path) -> None:
    import datasets  # noqa: PLC0415

    folder = saved(tmp_path / "a")
    assert list(source().documents([folder])) == list(datasets.load_from_disk(folder)["text"])


def test_all_shards_of_a_folder_are_read_in_an_order_that_their_names_do_not_decide(tmp_path: Path) -> None:
    folder = saved(tmp_path / "a", shards=3)
    found = list(source().documents([folder]))
    assert sorted(found) == sorted(TEXTS)
    state = json.loads((tmp_path / "a" / "state.json").read_text())
    for place, entry in enumerate(state["_data_files"]):
        (tmp_path / "a" / entry["filename"]).rename(tmp_path / "a" / f"renamed-{9 - place}.arrow")
        entry["filename"] = f"renamed-{9 - place}.arrow"
    (tmp_path / "a" / "state.json").write_text(json.dumps(state))
    assert list(source().documents([folder])) == found


@pytest.mark.parametrize(
    "settings", [{}, {"row_group_size": 300, "compression": "zstd"}, {"use_dictionary": False, "data_page_size": 2_000}]
)
def test_what_pyarrow_wrote_is_read_as_it_was_written(tmp_path: Path, settings: dict[str, object]) -> None:
    file = parquet(tmp_path / "a.parquet", **settings)
    assert list(source().documents([file])) == TEXTS
    assert source().size_bytes([file]) > 1_000


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.string_view(), pa.dictionary(pa.int32(), pa.string())], ids=str)
def test_any_type_of_string_in_any_format_is_the_same_content(tmp_path: Path, kind: pa.DataType) -> None:
    table = pa.table({"text": pa.array(TEXTS).cast(kind)})
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=700)
    pa.feather.write_feather(table, str(tmp_path / "b.arrow"), compression="zstd")
    expected = source().fingerprint([parquet(tmp_path / "plain.parquet")])
    for file in (tmp_path / "a.parquet", tmp_path / "b.arrow"):
        assert source(batch_rows=7).fingerprint([str(file)]) == expected
        assert list(source().documents([str(file)])) == TEXTS
    assert source().fingerprint([saved(tmp_path / "saved")]) == expected


def test_the_column_is_an_option_and_the_others_decide_nothing(tmp_path: Path) -> None:
    pq.write_table(pa.table({"body": TEXTS, "noise": range(len(TEXTS))}), tmp_path / "a.parquet")
    assert source("body").fingerprint([str(tmp_path / "a.parquet")]) == source().fingerprint([parquet(tmp_path / "b.parquet")])


def test_files_folders_globs_and_lists_are_locations(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = parquet(tmp_path / "data" / "one.parquet", TEXTS[:9]), parquet(tmp_path / "data" / "deep" / "two.parquet", TEXTS[9:20])
    expected = list(source().documents([two, one]))
    assert sorted(expected) == sorted(TEXTS[:20])
    for locations in ([str(tmp_path / "data")], [str(tmp_path / "data" / "**" / "*.parquet")], [one, two], [one, two, one]):
        assert list(source().documents(locations)) == expected
    monkeypatch.chdir(tmp_path)
    assert list(source().documents(["data"])) == expected


def test_a_split_is_an_option_or_a_folder(tmp_path: Path) -> None:
    from datasets import Dataset, DatasetDict  # noqa: PLC0415

    splits = {name: Dataset.from_dict({"text": texts}) for name, texts in (("train", TEXTS[:9]), ("test", TEXTS[9:12]))}
    DatasetDict(splits).save_to_disk(str(tmp_path / "both"))
    DatasetDict({"train": splits["train"]}).save_to_disk(str(tmp_path / "one"))
    for name, dataset in splits.items():
        dataset.to_parquet(str(tmp_path / "hub" / "data" / f"{name}-00000-of-00001.parquet"))
    for place in ("both", "hub"):
        assert list(source(split="test").documents([str(tmp_path / place)])) == TEXTS[9:12]
        assert faults([str(tmp_path / place)], split="tets") == [
            f"data.options.split: tets: {tmp_path}/{place} has no such split. Did you mean test?"
        ]
    assert list(source().documents([str(tmp_path / "both" / "train")])) == TEXTS[:9]
    assert list(source().documents([str(tmp_path / "one")])) == TEXTS[:9]
    assert "holds several splits: train, test. data.options.split=train" in faults([str(tmp_path / "both")])[0]


@pytest.mark.parametrize(
    "names",
    [
        {"train": "data/train-00000-of-00002.parquet", "dev-test": "data/dev-test-00000-of-00001.parquet"},
        {"train": "train.parquet", "test": "test.parquet"},
        {"train": "default/train/0000.parquet", "validation": "default/validation/0000.parquet"},
    ],
)
def test_several_splits_are_never_read_together_unasked(tmp_path: Path, names: dict[str, str]) -> None:
    """What is held out is not trained on."""
    for split, name in names.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        parquet(tmp_path / name, [f"of {split}"])
    [fault] = faults([str(tmp_path)])
    first, second = sorted(names)
    assert f"holds several splits: {first}, {second}. data.options.split={first}, or name its files: {tmp_path}/{names[first]}" in fault
    for split, name in names.items():
        assert list(source(split=split).documents([str(tmp_path)])) == [f"of {split}"]
        assert list(source().documents([str(tmp_path / name)])) == [f"of {split}"]


def test_parquet_files_that_name_no_splits_are_one_corpus(tmp_path: Path) -> None:
    for name in ("part-0.parquet", "more/part-1.parquet", "train-00000-of-00001.parquet"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        parquet(tmp_path / name, [name])
    assert len(list(source().documents([str(tmp_path)]))) == 3


def test_every_fault_of_every_file_comes_at_once(tmp_path: Path) -> None:
    null = parquet(tmp_path / "null.parquet", ["a", None, "b", None])
    number = parquet(tmp_path / "number.parquet", ["a"])
    pq.write_table(pa.table({"texts": ["a"], "text": [1]}), number)
    other = tmp_path / "other.parquet"
    pq.write_table(pa.table({"id": [1], "txt": ["a"]}), other)
    empty = parquet(tmp_path / "empty.parquet", [])
    found = faults([null, number, str(other), empty, f"{tmp_path}/*.parquet"])
    assert [fault.removeprefix(str(tmp_path)).split(". ")[0] for fault in found] == [
        f"data.options.text: text: is a column of null in {empty}, not of strings",
        "/null.parquet: row 1: null: column text has no text",
        "/null.parquet: row 3: null: column text has no text",
        f"data.options.text: text: is a column of int64 in {number}, not of strings",
        f"data.options.text: text: {other} has no such column, but id, txt",
    ]
    assert "Did you mean data.options.text=texts?" in found[3]
    assert "Did you mean data.options.text=txt?" in found[4]


def test_a_table_without_rows_is_a_fault(tmp_path: Path) -> None:
    pq.write_table(pa.table({"text": pa.array([], pa.string())}), tmp_path / "a.parquet")
    assert faults([str(tmp_path / "a.parquet")])[0].endswith("holds no rows. Name a file that holds documents.")


def test_many_faults_of_one_file_are_counted(tmp_path: Path) -> None:
    found = faults([parquet(tmp_path / "a.parquet", ["a", *[None] * 300])])
    assert len(found) == 21
    assert found[-1].startswith(f"{tmp_path}/a.parquet: 300 faults in all, 20 shown")


def test_text_that_is_not_utf_8_is_named_by_row(tmp_path: Path) -> None:
    broken = pa.array([b"good", b"\xff\xfe", b"good"], pa.binary()).view(pa.string())
    pq.write_table(pa.table({"text": broken}), tmp_path / "a.parquet")
    assert faults([str(tmp_path / "a.parquet")]) == [
        f"{tmp_path}/a.parquet: row 1: b'\\xff\\xfe': column text is not UTF-8. Decode it before it is written."
    ]


@pytest.mark.parametrize("kept", [0, 3, 100, 5_000, -8, -1])
def test_a_file_that_was_cut_short_is_a_fault(tmp_path: Path, kept: int) -> None:
    whole = Path(parquet(tmp_path / "whole.parquet")).read_bytes()
    (tmp_path / "cut.parquet").write_bytes(whole[:kept])
    stream = next(Path(saved(tmp_path / "saved")).glob("*.arrow"))
    stream.write_bytes(stream.read_bytes()[:kept])
    found = faults([str(tmp_path / "cut.parquet"), str(tmp_path / "saved")])
    assert len(found) == 2
    assert all("is not a whole parquet or Arrow file" in fault or "cannot be read" in fault for fault in found)


@pytest.mark.parametrize("count", [1, 2, 7, 100])
def test_the_parts_are_the_documents(tmp_path: Path, count: int) -> None:
    locations = [parquet(tmp_path / "a.parquet", row_group_size=400), saved(tmp_path / "b", TEXTS[::-1])]
    pa.feather.write_feather(pa.table({"text": TEXTS[5:700]}), str(tmp_path / "c.arrow"), chunksize=50)
    locations.append(str(tmp_path / "c.arrow"))
    parts = json.loads(json.dumps(list(source().parts(locations, count))))
    assert len(parts) == count
    assert [text for part in parts for text in source().part_documents(part)] == list(source().documents(locations))


def test_what_has_changed_since_it_was_validated_is_refused(tmp_path: Path) -> None:
    file = parquet(tmp_path / "a.parquet")
    reader = source()
    reader.fingerprint([file])
    part = reader.parts([file], 2)[1]
    parquet(tmp_path / "a.parquet", TEXTS[1:])
    for texts in (reader.documents([file]), source().part_documents(part)):
        with pytest.raises(DataError, match="has changed since it was validated"):
            list(texts)


def test_tables_behind_a_url_are_the_same_content(tmp_path: Path, bucket: str) -> None:
    import fsspec  # noqa: PLC0415

    filesystem = fsspec.filesystem("s3", skip_instance_cache=True)
    for name, local in (("a.parquet", parquet(tmp_path / "a.parquet", row_group_size=400)), ("saved", saved(tmp_path / "saved", shards=2))):
        filesystem.put(local, f"tables/{name}", recursive=True)
        remote = f"{bucket}/{name}"
        assert source().fingerprint([remote]) == source().fingerprint([local])
        assert list(source().documents([remote])) == list(source().documents([local]))
        parts = source().parts([remote], 3)
        assert [text for part in parts for text in source().part_documents(part)] == list(source().documents([local]))
        assert source().size_bytes([remote]) == source().size_bytes([local])
    assert list(source().documents([f"{bucket}/*.parquet"])) == TEXTS
    assert "s3://tables/none" in faults([f"{bucket}/none.parquet"])[0]
    assert "must not hold a user name" in faults(["s3://a:b@tables/x.parquet"])[0]


@pytest.mark.parametrize("documents", [500, 40_000], ids=["in one go", "in parts"])
def test_a_store_of_a_table_holds_the_tokens_of_the_same_texts_as_jsonl(tmp_path: Path, documents: int) -> None:
    texts = [f"{number} " + "five hundred bytes, so that many make two parts. " * 10 for number in range(documents)]
    jsonl = tmp_path / "a.jsonl"
    jsonl.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    pq.write_table(pa.table({"body": texts}), tmp_path / "a.parquet")
    argvs = (
        ["data=jsonl", f"data.train={jsonl}"],
        ["data=hf_datasets", f"data.train={tmp_path}/a.parquet", "data.options.text=body"],
    )
    stores = []
    for argv in argvs:
        command = [sys.executable, "-m", "cpt", "prepare", *argv, f"data.store={tmp_path}/stores", "--json"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        stores.append(Path(json.loads(done.stdout)["store"]))
    assert stores[0] != stores[1]
    for name in ("tokens.bin", "offsets.bin", "sizes.bin", "digests.bin"):
        assert (stores[0] / name).read_bytes() == (stores[1] / name).read_bytes()


def test_reading_what_datasets_saved_does_not_need_datasets(tmp_path: Path) -> None:
    code = (
        "import sys; from cpt_hf_datasets import HfDatasetsOptions as Options, HfDatasetsSource as Source\n"
        "print(sum(1 for _ in Source(Options()).documents(sys.argv[1:])), 'datasets' in sys.modules)"
    )
    command = [sys.executable, "-c", code, saved(tmp_path / "a")]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == f"{len(TEXTS)} False\n"


PEAK = """
import sys
from pathlib import Path
from cpt_hf_datasets import HfDatasetsOptions, HfDatasetsSource
source = HfDatasetsSource(HfDatasetsOptions())
source.fingerprint(sys.argv[1:])
count = sum(1 for _ in source.documents(sys.argv[1:]))
print(count, Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])
"""


def peak_mib(file: Path, rows: int) -> int:
    """Of a process that validates and reads `file`; getrusage(2) would count what this one had when it forked."""
    done = subprocess.run([sys.executable, "-c", PEAK, str(file)], capture_output=True, text=True, check=True)
    count, peak_kib = map(int, done.stdout.split())
    assert count == rows
    return peak_kib >> 10


@pytest.mark.parametrize("name", ["a.parquet", "a.arrow"])
def test_memory_does_not_grow_with_the_file(tmp_path: Path, name: str) -> None:
    """200 MB of text in one row group, the largest that pyarrow writes by default, against 10 MB; and the same as Arrow streams."""
    sentence = "A sentence of fifty characters, more or less, ok. " * 40
    peaks = []
    for rows in (5_000, 100_000):
        table = pa.table({"text": [f"{number} {sentence}" for number in range(rows)], "id": range(rows)})
        if name.endswith(".parquet"):
            pq.write_table(table, tmp_path / name, use_dictionary=False, compression="none")
            assert pq.ParquetFile(tmp_path / name).num_row_groups == 1
        else:
            with pa.OSFile(str(tmp_path / name), "wb") as file, pa.ipc.new_stream(file, table.schema) as stream:
                stream.write_table(table, max_chunksize=1_000)
        del table
        peaks.append(peak_mib(tmp_path / name, rows))
    assert peaks[1] - peaks[0] < 24, peaks
    shutil.rmtree(tmp_path)
