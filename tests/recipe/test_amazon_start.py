"""A recipe for Amazon's engine starts from an earlier job by its run of ours, or by the manifest that Amazon left."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from cpt import storage
from cpt.base import open_model, with_amazons_start
from cpt.cli import main
from cpt.composition import compose
from cpt.errors import CheckpointError, Fault, StorageError
from cpt.recipe.amazon import to_amazon

ESCROW = "s3://customer-escrow-123456789012-hp-abc/my-run-abcde/step-100"
RECIPE = ["model=nova_micro", "cluster=p5x2", "data.train=s3://bucket/train.jsonl", "run.output=s3://bucket/output"]
UNTOUCHED = ["null", ESCROW, "random", "org/name", "nowhere"]


def started(init: str, *overrides: str) -> dict[str, Any]:
    """Amazon's `run` for a recipe that starts from `init`."""
    recipe = with_amazons_start(compose([*RECIPE, f"model.init={init}", *overrides]).recipe)
    return dict(to_amazon(recipe)["run"])


def fault(init: str, *overrides: str) -> Fault:
    with pytest.raises(CheckpointError) as error:
        started(init, *overrides)
    [found] = error.value.faults
    return found


def run(folder: str, preset: str = "nova_micro", **manifest: object) -> str:
    """A run of ours, as the launcher of Amazon's engine leaves it."""
    recipe = compose([*RECIPE, f"model={preset}", "cluster=p5x8"]).recipe
    storage.write_bytes(storage.join(folder, "recipe.json"), recipe.model_dump_json().encode())
    content = {"status": "completed", "final": None, "checkpoint_s3_bucket": ESCROW, **manifest}
    storage.write_bytes(storage.join(folder, "manifest.json"), json.dumps(content).encode())
    return folder


def test_our_run_of_the_job_leads_to_amazons_checkpoint(s3: str) -> None:
    assert started(run(f"{s3}/runs/first"))["model_name_or_path"] == ESCROW


def test_our_runs_own_manifest_leads_there_too(s3: str) -> None:
    assert started(f"{run(f'{s3}/runs/first')}/manifest.json")["model_name_or_path"] == ESCROW


def test_amazons_manifest_leads_to_its_checkpoint(s3: str) -> None:
    location = f"{s3}/output/my-run-abcde/manifest.json"
    storage.write_bytes(location, json.dumps({"checkpoint_s3_bucket": ESCROW}).encode())
    assert started(location)["model_name_or_path"] == ESCROW


def test_a_run_in_a_local_folder_leads_there(tmp_path: Path) -> None:
    assert started(run(str(tmp_path / "first")))["model_name_or_path"] == ESCROW


def test_an_export_resolves_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["recipe", "export", *RECIPE, f"model.init={run(str(tmp_path / 'first'))}"]) == 0
    assert f'model_name_or_path: "{ESCROW}"' in capsys.readouterr().out


@pytest.mark.parametrize("init", UNTOUCHED)
def test_nothing_is_looked_up_for_what_is_no_run(init: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No credentials are here, and no network."""
    monkeypatch.chdir(tmp_path)
    recipe = compose([*RECIPE, f"model.init={init}"]).recipe
    assert with_amazons_start(recipe) == recipe


def test_the_start_of_an_open_model_is_left_alone(tmp_path: Path) -> None:
    recipe = compose(["model=smollm2_135m", f"model.init={run(str(tmp_path / 'first'))}"]).recipe
    assert with_amazons_start(recipe) == recipe


@pytest.mark.parametrize("checkpoint", [None, "", " ", 3])
def test_a_job_that_has_not_ended_is_refused(tmp_path: Path, checkpoint: object) -> None:
    found = fault(run(str(tmp_path / "first"), status="queued", checkpoint_s3_bucket=checkpoint))
    assert "checkpoint_s3_bucket" in found.rule
    assert "may not have ended" in found.cure


def test_a_checkpoint_of_another_of_amazons_models_is_refused(tmp_path: Path) -> None:
    found = fault(run(str(tmp_path / "first"), preset="nova_lite"))
    assert "amazon.nova-lite-v1:0:300k" in found.rule
    assert found.cure == "Use model=nova_lite"


def test_a_run_that_was_trained_here_is_refused(tmp_path: Path, s3: str) -> None:
    for folder in (str(tmp_path / "first"), f"{s3}/runs/first"):
        found = fault(run(folder, final="final", checkpoint_s3_bucket=f"{folder}/final"))
        assert "was trained here" in found.rule


def test_a_manifest_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="does not exist"):
        started(str(tmp_path / "manifest.json"))


@pytest.mark.parametrize("via_manifest", [True, False])
def test_our_engine_says_that_it_cannot_read_amazons_weights(tmp_path: Path, via_manifest: bool) -> None:
    location = f"{run(str(tmp_path / 'first'))}/manifest.json" if via_manifest else ESCROW
    with pytest.raises(CheckpointError, match="launcher=hyperpod"):
        open_model(location)
