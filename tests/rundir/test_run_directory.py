"""A run directory on a disk and at a URL: what is committed survives, what is damaged is passed over, what is superfluous goes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from cpt import storage
from cpt.errors import CheckpointError, StorageError
from cpt.manifest import new_manifest
from cpt.rundir import RunDirectory

MANIFEST = new_manifest(identity="ab", identity_parts={"seed": 1}, data={"sha256": "cd"}, versions={"torch": "2"}, parent=None)


@pytest.fixture(params=["local", "s3"])
def output(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return str(tmp_path / "outputs") if request.param == "local" else f"{request.getfixturevalue('s3')}/outputs"


@pytest.fixture
def run(output: str) -> RunDirectory:
    run = RunDirectory(output, "nova-tiny-ab")
    run.write_manifest(MANIFEST)
    return run


def commit(run: RunDirectory, step: int, loss: float | None = None) -> Path:
    temporary = run.temporary_checkpoint(step)
    temporary.mkdir(parents=True)
    (temporary / "weights.bin").write_bytes(step.to_bytes(4, "big") * 100)
    run.commit_checkpoint(step, temporary, {} if loss is None else {"domain": loss, "general": -loss})
    return run.local / "checkpoints" / f"step-{step:08}"


def steps(run: RunDirectory) -> list[int]:
    return [step for step, _ in run.committed_checkpoints()]


def flip(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[17] ^= 4
    file.write_bytes(data)


def lose_spool(run: RunDirectory, output: str) -> RunDirectory:
    """The run as another machine sees it; on a disk, as another process does."""
    if storage.is_url(output):
        shutil.rmtree(run.local)
    return RunDirectory(output, run.name)


def test_a_manifest_keeps_its_keys_and_their_order(run: RunDirectory, output: str) -> None:
    run.update_manifest(status="completed", steps=7)
    found = RunDirectory(output, run.name).manifest()
    assert found == {**MANIFEST, "status": "completed", "steps": 7}
    assert list(found)[:4] == ["status", "steps", "tokens", "identity"]
    assert RunDirectory(output, "another").manifest() is None


def test_a_manifest_that_is_no_json_is_one_line(run: RunDirectory) -> None:
    storage.write_bytes(run.uri("manifest.json"), b"{")
    with pytest.raises(StorageError, match="is not JSON"):
        run.manifest()


@pytest.mark.parametrize("name", ["../x", "", "a//b", ".", "a/../b", "/etc", "a\nb", "a\\b"])
def test_a_name_cannot_leave_its_output(tmp_path: Path, name: str) -> None:
    with pytest.raises(StorageError, match=r"run\.name"):
        RunDirectory(str(tmp_path), name)


def test_a_run_is_found_by_its_location(run: RunDirectory) -> None:
    again = RunDirectory.at(run.location)
    assert (again.location, again.name, again.local) == (run.location, run.name, run.local)


def test_a_committed_checkpoint_is_listed_and_readable_from_anywhere(run: RunDirectory, output: str) -> None:
    commit(run, 50)
    commit(run, 100, loss=2.0)
    run = lose_spool(run, output)
    assert steps(run) == [100, 50]
    folder = run.checkpoint(50)
    assert (folder / "weights.bin").read_bytes() == (50).to_bytes(4, "big") * 100
    entries = (run.manifest() or {})["checkpoints"]
    assert [(entry["step"], entry["path"]) for entry in entries] == [(50, "checkpoints/step-00000050"), (100, "checkpoints/step-00000100")]
    assert entries[0]["sha256"] == storage.verify_folder(folder)


def test_what_was_not_committed_does_not_exist(run: RunDirectory) -> None:
    commit(run, 50)
    run.temporary_checkpoint(100).mkdir()
    (run.temporary_checkpoint(100) / "weights.bin").write_bytes(b"half")
    assert steps(run) == [50]
    with pytest.raises((CheckpointError, StorageError)):
        run.checkpoint(100)


def test_a_damaged_checkpoint_is_passed_over_with_a_warning(tmp_path: Path) -> None:
    run = RunDirectory(str(tmp_path), "run")
    commit(run, 50)
    damaged = commit(run, 100)
    flip(damaged / "weights.bin")
    warnings: list[str] = []
    again = RunDirectory(str(tmp_path), "run")
    assert again.latest_checkpoint(None, warnings.append) == run.local / "checkpoints" / "step-00000050"
    assert str(damaged / "weights.bin") in warnings[0]
    assert again.latest_checkpoint(50, warnings.append) is None


def test_a_damaged_spool_is_filled_anew(s3: str) -> None:
    run = RunDirectory(f"{s3}/outputs", "run")
    flip(commit(run, 50) / "weights.bin")
    warnings: list[str] = []
    folder = run.latest_checkpoint(None, warnings.append)
    assert folder is not None
    storage.verify_folder(folder)
    assert warnings == []


def test_retention_keeps_the_newest_and_the_best(run: RunDirectory, output: str) -> None:
    for step, loss in ((10, 3.0), (20, 1.0), (30, 2.0), (40, 2.5)):
        commit(run, step, loss)
        run.prune(keep=2)
    assert steps(run) == [40, 30, 20]
    assert run.best_step() == 20
    assert [entry["step"] for entry in (run.manifest() or {})["checkpoints"]] == [20, 30, 40]
    assert sorted(path.name for path in (run.local / "checkpoints").iterdir()) == ["step-00000020", "step-00000030", "step-00000040"]
    commit(run, 50)
    run.prune(keep=0)
    assert steps(lose_spool(run, output)) == [50, 20]


def test_retention_never_removes_the_last_checkpoint_that_is_whole(tmp_path: Path) -> None:
    run = RunDirectory(str(tmp_path), "run")
    for step in (10, 20, 30):
        commit(run, step)
    for step in (20, 30):
        flip(run.local / "checkpoints" / f"step-{step:08}" / "weights.bin")
    RunDirectory(str(tmp_path), "run").prune(keep=1)
    assert 10 in steps(run)


def test_a_model_of_the_run_is_named_by_step_best_last_or_nothing(run: RunDirectory, output: str) -> None:
    with pytest.raises(CheckpointError, match="no such checkpoint"):
        run.checkpoint_or_final(None)
    for step, loss in ((10, 1.0), (20, 2.0)):
        commit(run, step, loss)
    names = {which: run.checkpoint_or_final(which).name for which in (None, "last", "best", "10")}
    assert names == {None: "step-00000020", "last": "step-00000020", "best": "step-00000010", "10": "step-00000010"}
    with run.committed("final") as folder:
        (folder / "config.json").write_text("{}")
    assert run.checkpoint_or_final(None).name == "step-00000020"  # the manifest does not know it yet
    run.update_manifest(final="final")
    assert (lose_spool(run, output).checkpoint_or_final(None) / "config.json").read_text() == "{}"
    for nothing in ("15", "newest", "-1"):
        with pytest.raises(CheckpointError, match="Steps there are: 10, 20"):
            run.checkpoint_or_final(nothing)


def test_records_are_published_and_come_back_to_an_empty_spool(run: RunDirectory, output: str) -> None:
    run.write_recipe("model: x\n", '{"train": {"max_length": 256}}')
    run.metrics.append(1, {"train/loss": 1.0})
    (run.local / "tensorboard").mkdir()
    (run.local / "tensorboard" / "events.1").write_bytes(b"events")
    run.samples_path.write_text("{}\n")
    commit(run, 1)
    run = lose_spool(run, output)
    assert run.recipe() == {"train": {"max_length": 256}}
    with run.lease():
        assert [row["step"] for row in run.metrics.rows()] == [1]
        assert (run.local / "tensorboard" / "events.1").read_bytes() == b"events"
        assert run.samples_path.read_text() == "{}\n"
        assert (run.local / "recipe.yaml").read_text() == "model: x\n"


def test_rows_that_were_never_published_do_not_come_back(s3: str) -> None:
    run = RunDirectory(f"{s3}/outputs", "run")
    run.write_manifest(MANIFEST)
    run.metrics.append(1, {})
    run.publish()
    run.metrics.append(2, {})
    again = RunDirectory(f"{s3}/outputs", "run")
    with again.lease():
        assert [row["step"] for row in again.metrics.rows()] == [1]


def test_a_kill_between_checkpoint_and_manifest_is_made_good(run: RunDirectory) -> None:
    commit(run, 50, loss=1.0)
    commit(run, 100)
    entries = (run.manifest() or {})["checkpoints"]
    run.update_manifest(checkpoints=entries[:1])
    with run.lease():
        assert (run.manifest() or {})["checkpoints"] == entries


def test_a_run_has_one_writer(run: RunDirectory, output: str) -> None:
    with run.lease(), pytest.raises(StorageError, match="a run has one writer"), RunDirectory(output, run.name).lease():
        pass


def test_manifest_is_json_that_others_read(run: RunDirectory) -> None:
    assert json.loads(storage.read_bytes(storage.join(run.location, "manifest.json")))["checkpoint_s3_bucket"] is None
