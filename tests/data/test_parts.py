"""A store built from parts is the store built in one go, whoever built it, and nothing is done twice."""

from __future__ import annotations

import io
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from cpt import storage
from cpt.composition import compose
from cpt.contracts import NoOptions
from cpt.data import parts, processes, shard
from cpt.data.prepare import prepare, shard_job
from cpt.data.shard import ShardJob, argv_of
from cpt.data.sources import JsonlSource
from cpt.data.store import build_store
from cpt.data.tokenizer import bytes_tokenizer
from cpt.errors import CptError, DataError
from cpt.recipe.schema import Recipe

PART_BYTES = 40_000


@pytest.fixture(autouse=True)
def _small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "PART_BYTES", PART_BYTES)


def write(folder: Path, documents: int = 2_000, files: int = 3) -> list[str]:
    """Files of documents of many sizes, an empty one among them; lines end in LF or CRLF, the last of each file in none."""
    folder.mkdir(parents=True, exist_ok=True)
    chance = random.Random(documents)
    for file in range(files):
        lines = [json.dumps({"text": "naïve 😀 " * chance.choice([0, 1, 5, 40])}, ensure_ascii=False) for _ in range(documents // files)]
        (folder / f"{file}.jsonl").write_bytes(("\r\n" if file else "\n").join(lines).encode())
    return [str(folder)]


def recipe_of(locations: Sequence[str], *overrides: str) -> Recipe:
    return compose(["data=jsonl", f"data.train={json.dumps(list(locations))}", *overrides]).recipe


def content(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def serial(locations: Sequence[str], root: Path) -> dict[str, bytes]:
    """The files of a store built in one go."""
    source = JsonlSource(NoOptions())
    return content(build_store(source.documents(locations), source.fingerprint(locations), bytes_tokenizer(), root).folder)


@pytest.mark.parametrize("count", [1, 2, 7, 100, 5_000])
def test_the_parts_of_jsonl_files_are_its_documents(tmp_path: Path, count: int) -> None:
    locations = write(tmp_path, documents=300)
    whole = list(JsonlSource(NoOptions()).documents(locations))
    shared_out = json.loads(json.dumps(list(JsonlSource(NoOptions()).parts(locations, count))))
    assert len(shared_out) == count
    assert [text for part in shared_out for text in JsonlSource(NoOptions()).part_documents(part)] == whole


def test_moved_and_renamed_files_have_the_same_parts(tmp_path: Path) -> None:
    source = JsonlSource(NoOptions())
    here = write(tmp_path / "here")
    (tmp_path / "there").mkdir()
    for number in range(3):
        shutil.copy(tmp_path / "here" / f"{number}.jsonl", tmp_path / "there" / f"{9 - number}.jsonl")
    texts = [[list(source.part_documents(part)) for part in source.parts(place, 5)] for place in (here, [str(tmp_path / "there")])]
    assert texts[0] == texts[1]


def test_a_part_whose_file_has_changed_is_refused(tmp_path: Path) -> None:
    source = JsonlSource(NoOptions())
    part = source.parts(write(tmp_path), 3)[1]
    file = tmp_path / "1.jsonl"
    file.write_bytes(file.read_bytes().replace(b"na", b"no", 1))
    with pytest.raises(DataError, match="has changed since it was validated"):
        list(source.part_documents(part))


def test_a_store_from_parts_is_the_store_of_one_go(tmp_path: Path) -> None:
    locations = write(tmp_path / "data")
    told: list[tuple[str, int, int]] = []
    prepared = prepare(recipe_of(locations, f"data.store={tmp_path}/parts"), None, lambda *facts: told.append(facts), processes=2)
    expected = serial(locations, tmp_path / "serial")
    assert content(prepared.train.store.folder) == expected
    header = json.loads(expected["header.json"])
    assert told[-1] == ("tokenise", header["documents"], header["text_bytes"])
    assert told == sorted(told)
    assert not list((tmp_path / "parts").glob("*.parts"))


def test_a_killed_build_leaves_what_is_whole_and_the_next_one_does_the_rest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    locations, root = write(tmp_path / "data", documents=40_000), tmp_path / "stores"
    code = (
        "import sys; from cpt.data import parts; from cpt.data.prepare import prepare; from cpt.composition import compose\n"
        f"parts.PART_BYTES = 300_000\nprepare(compose(['data=jsonl', 'data.train={locations[0]}']).recipe, None, processes=2)"
    )
    process = subprocess.Popen([sys.executable, "-c", code], env={**os.environ, "CPT_STORE": str(root)})
    while process.poll() is None and len(list(root.glob("*.parts/0*/files.json"))) < 3:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    done = {file: file.stat().st_mtime_ns for file in root.glob("*.parts/0*/files.json")}
    assert not list(root.glob("*/header.json"))
    monkeypatch.setattr(parts, "PART_BYTES", 300_000)
    recipe = recipe_of(locations, f"data.store={root}")
    job = shard_job(recipe, None)
    assert job is not None
    assert 0 < len(done) < len(job.shards)
    job.run(0, 1, lambda *_: None)
    assert done == {file: file.stat().st_mtime_ns for file in done}
    assert content(prepare(recipe, None, processes=2).train.store.folder) == serial(locations, tmp_path / "serial")


def test_a_damaged_part_is_built_anew(tmp_path: Path) -> None:
    locations, root = write(tmp_path / "data"), tmp_path / "stores"
    recipe = recipe_of(locations, f"data.store={root}")
    job = shard_job(recipe, None)
    assert job is not None
    job.run(0, 1, lambda *_: None)
    victim = root / job.shards[2].name / "tokens.bin"
    victim.write_bytes(b"\xff" + victim.read_bytes()[1:])
    assert content(prepare(recipe, None, processes=2).train.store.folder) == serial(locations, tmp_path / "serial")


def test_an_array_of_tasks_does_all_but_the_join(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    locations, root = write(tmp_path / "data"), tmp_path / "stores"
    validation = write(tmp_path / "validation", documents=600)
    recipe = recipe_of(locations, f"data.store={root}", f"data.validation={{general: {validation[0]}}}")
    job = shard_job(recipe, None)
    assert job is not None
    job.save(tmp_path / "job")
    environments = [{**os.environ, "CPT_MEMBER": str(member)} for member in range(2)]
    processes_of = (0, 3)
    tasks = [
        subprocess.Popen(argv_of(tmp_path / "job", 2, count), env=env, cwd="/")
        for count, env in zip(processes_of, environments, strict=True)
    ]
    assert [task.wait() for task in tasks] == [0, 0]
    monkeypatch.setattr(parts, "run_members", lambda *_: pytest.fail("all is done"))
    prepared = prepare(recipe, None)
    assert content(prepared.train.store.folder) == serial(locations, tmp_path / "serial")
    assert content(prepared.validation["general"].store.folder) == serial(validation, tmp_path / "serial")
    assert shard_job(recipe, None) is None


def test_a_task_that_is_late_tokenises_nothing_that_is_joined(tmp_path: Path) -> None:
    recipe, root = recipe_of(write(tmp_path / "data"), f"data.store={tmp_path}/stores"), tmp_path / "stores"
    job = shard_job(recipe, None)
    assert job is not None
    job.save(tmp_path / "job")
    prepare(recipe, None)
    done = subprocess.run(argv_of(tmp_path / "job", 1, 1), capture_output=True, text=True, check=True)
    assert [json.loads(line)["documents"] for line in done.stdout.splitlines()] == [0]
    assert not list(root.glob("*.parts"))


def test_a_task_that_is_overtaken_leaves_nothing(tmp_path: Path) -> None:
    locations, root = write(tmp_path / "data"), tmp_path / "stores"
    joined = prepare(recipe_of(locations, f"data.store={tmp_path}/another"), None).train.store.folder
    job = shard_job(recipe_of(locations, f"data.store={root}"), None)
    assert job is not None

    def overtake(stage: str, documents: int, size_bytes: int) -> None:
        shutil.copytree(joined, root / joined.name, dirs_exist_ok=True)

    job.run(0, 1, overtake)
    assert [folder.name for folder in root.iterdir()] == [joined.name]


def test_a_damaged_store_is_tokenised_by_tasks_too(tmp_path: Path) -> None:
    locations, root = write(tmp_path / "data"), tmp_path / "stores"
    recipe = recipe_of(locations, f"data.store={root}")
    victim = prepare(recipe, None).train.store.folder / "tokens.bin"
    victim.write_bytes(b"\xff" + victim.read_bytes()[1:])
    job = shard_job(recipe, None)
    assert job is not None
    job.run(0, 1, lambda *_: None)
    assert len(list(root.glob("*.parts/*/files.json"))) == len(job.shards)
    assert content(prepare(recipe, None).train.store.folder) == serial(locations, tmp_path / "serial")


@pytest.mark.parametrize(("cores", "members", "asked", "expected"), [(3, 1, 0, 3), (192, 2, 0, 2), (8, 4, 0, 1), (1, 1, 2, 2)])
def test_a_task_takes_no_more_processes_than_it_has_cores_and_shards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cores: int, members: int, asked: int, expected: int
) -> None:
    job = shard_job(recipe_of(write(tmp_path / "data"), f"data.store={tmp_path}/stores"), None)
    assert job is not None
    ShardJob(job.source, job.options, job.tokenizer, job.root, job.shards[:4]).save(tmp_path / "job")
    started = [range(1)]
    monkeypatch.setattr(shard, "cores", lambda: cores)
    monkeypatch.setattr(shard, "run_members", lambda _argv, numbers, _told: started.append(numbers))
    shard.run_share(tmp_path / "job", members, asked, shard.Told(io.StringIO()))
    assert len(started[-1]) == expected


def test_finding_what_is_missing_compares_no_shard_with_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = recipe_of(write(tmp_path / "data"), f"data.store={tmp_path}/stores")
    job = shard_job(recipe, None)
    assert job is not None
    job.run(0, 1, lambda *_: None)
    monkeypatch.setattr(shard.Shard, "__eq__", lambda *_: pytest.fail("4,096 shards are 16 million comparisons"))
    prepare(recipe, None)


def test_an_array_may_meet_at_a_url(tmp_path: Path, s3: str, monkeypatch: pytest.MonkeyPatch) -> None:
    locations = write(tmp_path / "data", documents=500)
    recipe = recipe_of(locations, f"data.store={s3}/stores")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "node"))
    job = shard_job(recipe, None)
    assert job is not None
    job.save(tmp_path / "job")
    ShardJob.open(tmp_path / "job").run(0, 1, lambda *_: None)
    assert len([name for name in storage.list_names(f"{s3}/stores") if name.endswith(".parts")]) == 1
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "here"))
    monkeypatch.setattr(parts, "run_members", lambda *_: pytest.fail("all is done"))
    assert content(prepare(recipe, None).train.store.folder) == serial(locations, tmp_path / "serial")
    assert not [name for name in storage.list_names(f"{s3}/stores") if name.endswith(".parts")]


def test_two_builders_at_once_build_one_store(tmp_path: Path) -> None:
    recipe = recipe_of(write(tmp_path / "data"), f"data.store={tmp_path}/stores")
    with ThreadPoolExecutor(3) as pool:
        folders = {made.train.store.folder for made in pool.map(lambda _: prepare(recipe, None), range(3))}
    assert len(folders) == 1
    assert len(list((tmp_path / "stores").iterdir())) == 2


def test_a_members_fault_is_the_builds_fault(tmp_path: Path) -> None:
    recipe = recipe_of(write(tmp_path / "data"), f"data.store={tmp_path}/stores")
    job = shard_job(recipe, None)
    assert job is not None
    (tmp_path / "data" / "1.jsonl").write_text('{"text": "another"}\n')
    with pytest.raises(DataError, match=r"1\.jsonl: has changed since it was validated"):
        parts.build_from_parts(job, 2, lambda *_: None)
    assert not list((tmp_path / "stores").glob("*/files.json"))


def test_a_members_crash_is_ours_and_says_what_it_said(tmp_path: Path) -> None:
    with pytest.raises(CptError, match=r"ended with 1, and said:(.|\n)*No such thing"):
        processes.run_members([sys.executable, "-c", "raise SystemError('No such thing')"], range(2), lambda *_: None)


def test_many_runs_over_the_same_files_read_them_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    locations = write(tmp_path)
    first = JsonlSource(NoOptions()).fingerprint(locations)
    opened: list[str] = []
    original = storage.open_binary
    monkeypatch.setattr(storage, "open_binary", lambda location: (opened.append(location), original(location))[1])
    assert JsonlSource(NoOptions()).fingerprint(locations) == first
    assert not opened
    (tmp_path / "0.jsonl").write_text('{"text": "another"}\n')
    assert JsonlSource(NoOptions()).fingerprint(locations) != first
    assert opened


def test_what_a_data_source_prints_is_no_progress(tmp_path: Path) -> None:
    job = shard_job(recipe_of(write(tmp_path / "data"), f"data.store={tmp_path}/stores"), None)
    assert job is not None
    job.save(tmp_path / "job")
    chatty = (
        "import os, sys; from cpt.data import shard; from cpt.data.sources import JsonlSource as S; read = S.part_documents\n"
        "S.part_documents = lambda self, part: (print('chat'), os.system('echo chat'), read(self, part))[2]\n"
        "sys.exit(shard.main(sys.argv[1:]))"
    )
    done = subprocess.run([sys.executable, "-c", chatty, str(tmp_path / "job")], capture_output=True, text=True, check=True)
    assert "chat" in done.stderr
    assert sum(json.loads(line)["documents"] for line in done.stdout.splitlines()) == 1_998
