"""Where a model's weights come from: folders, parts of runs and manifests are opened, or refused by name."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cpt import storage
from cpt.base import open_model
from cpt.errors import CheckpointError
from cpt.recipe.architecture import Architecture


@pytest.fixture
def run(tmp_path: Path, small: Architecture) -> Path:
    """A run with a committed `final/` and one checkpoint; their weights are not looked at here."""
    config = small.to_hf_config()
    for part in ("final", "checkpoints/step-00000004"):
        with storage.committed_folder(tmp_path / "run" / part) as folder:
            (folder / "config.json").write_text(json.dumps(config))
            (folder / "model.safetensors").write_bytes(b"weights")
    (tmp_path / "run/manifest.json").write_text('{"checkpoints": [], "checkpoint_s3_bucket": null}')
    return tmp_path / "run"


@pytest.mark.parametrize("part", ["final", "checkpoints/step-00000004"])
def test_a_part_of_a_run_names_the_run_and_is_verified(run: Path, part: str) -> None:
    assert open_model(str(run / part)).parent == str(run)
    (run / part / "model.safetensors").write_bytes(b"weighty")
    with pytest.raises(CheckpointError, match="SHA-256 differs"):
        open_model(str(run / part))


def test_a_folder_by_itself_has_no_parent(run: Path, tmp_path: Path) -> None:
    (run / "final").rename(tmp_path / "final")
    assert open_model(str(tmp_path / "final")).parent is None


def test_an_amazon_manifest_leads_to_its_checkpoint(run: Path, tmp_path: Path) -> None:
    manifest = tmp_path / "amazon.json"
    manifest.write_text(json.dumps({"checkpoint_s3_bucket": str(run / "final")}))
    assert open_model(str(manifest)).folder == run / "final"


@pytest.mark.parametrize("content", ['{"checkpoint_s3_bucket": null}', '{"checkpoint_s3_bucket": "amazon.json"}', "{}", "[]", "?"])
def test_a_manifest_without_a_folder_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str) -> None:
    monkeypatch.chdir(tmp_path)
    Path("amazon.json").write_text(content)
    with pytest.raises(CheckpointError, match="checkpoint_s3_bucket"):
        open_model("amazon.json")


@pytest.mark.parametrize("content", ["[]", "?", '"text"'])
def test_a_configuration_that_is_no_object_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "config.json").write_text(content)
    with pytest.raises(CheckpointError, match=r"config\.json"):
        open_model(str(tmp_path))
