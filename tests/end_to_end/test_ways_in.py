"""Other ways into a run: a notebook, a sweep, a Hugging Face folder, bf16, a dry run."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from runs import QUICK, rows
from safetensors import safe_open
from transformers import LlamaConfig, LlamaForCausalLM

from cpt.data.tokenizer import bytes_tokenizer

NOTEBOOK = """
import json, sys, cpt
recipe = cpt.compose(sys.argv[1:])
assert "torch" not in sys.modules
run = cpt.train(recipe)
assert cpt.train(recipe).manifest == run.manifest
assert cpt.validate("domain.jsonl").valid
found = cpt.evaluate(run.location, {"mine": "domain.jsonl"})
text = cpt.generate(run.location, "Valve", max_tokens=4)
folder = cpt.export(run.location, "exported")
print(json.dumps({"summary": run.summary, "found": found, "text": text, "folder": folder, "again": cpt.compose([]).model.name}))
"""


@pytest.mark.long
def test_a_notebook_has_the_same_verbs(cpt: Callable, tmp_path: Path) -> None:
    argv = [sys.executable, "-c", NOTEBOOK, *QUICK, "train.max_steps=2", "run.output=o", "run.name=r"]
    result = subprocess.run(argv, cwd=tmp_path, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    said = json.loads(result.stdout)
    assert set(said["summary"]) == {"held_out"}
    assert said["found"]["mine"]["documents"] == 60
    assert (said["folder"], said["again"]) == ("exported", "nova_tiny")
    assert (tmp_path / "exported" / "model.safetensors").exists()


@pytest.mark.long
def test_a_sweep_runs_its_members_side_by_side_in_one_folder(cpt: Callable, tmp_path: Path) -> None:
    cpt("train", "-m", *QUICK, "train.max_steps=2", "run.output=o", "run.name=lr", "optim.lr=0.001,0.003")
    members = sorted(path.name for path in (tmp_path / "o" / "lr").iterdir() if path.is_dir())
    assert members == ["optim.lr=0.001", "optim.lr=0.003"]
    rates = [rows(tmp_path / "o" / "lr" / member)[-1]["train/lr"] for member in members]
    assert rates[1] == pytest.approx(3 * rates[0], rel=0.1)


def test_a_hugging_face_folder_goes_on_where_transformers_stands(cpt: Callable, tmp_path: Path) -> None:
    config = LlamaConfig(
        vocab_size=264,
        hidden_size=48,
        intermediate_size=96,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        eos_token_id=256,
    )
    torch.manual_seed(0)
    theirs = LlamaForCausalLM(config).eval()
    theirs.save_pretrained(tmp_path / "hf")
    bytes_tokenizer().save(tmp_path / "hf")
    cpt("train", *QUICK, "model=auto", "model.init=hf", "train.max_steps=2", "data.validation=domain.jsonl", "run.output=o", "run.name=r")
    nats, predicted = 0.0, 0
    for line in (tmp_path / "domain.jsonl").read_text().splitlines():
        ids = torch.tensor([[*json.loads(line)["text"].encode(), 256]])
        for window in (ids[:, start : start + 64] for start in range(0, ids.shape[1] - 1, 63)):
            with torch.no_grad():
                nats += float(theirs(window, labels=window).loss) * (window.shape[1] - 1)
            predicted += window.shape[1] - 1
    assert rows(tmp_path / "o" / "r")[0]["validation/validation/loss"] == pytest.approx(nats / predicted, abs=1e-4)


@pytest.mark.long
def test_bf16_trains_and_saves_what_it_computed_with(cpt: Callable, tmp_path: Path) -> None:
    cpt("train", *QUICK, "train.precision=bf16", "optim.lr=1e-3", "run.output=o", "run.name=r")
    table = [row["train/loss"] for row in rows(tmp_path / "o" / "r") if "train/loss" in row]
    assert table[-1] < table[0] - 0.3
    with safe_open(tmp_path / "o/r/final/model.safetensors", "pt") as weights:
        assert weights.get_tensor("model.norm.weight").dtype == torch.bfloat16
    found = json.loads(cpt("eval", "o/r", "--on", "mine=domain.jsonl", "--json").stdout)["mine"]["loss"]
    assert found == pytest.approx(table[-1], abs=0.5)


@pytest.mark.long
def test_a_dry_run_writes_what_would_be_submitted_and_starts_nothing(cpt: Callable, tmp_path: Path) -> None:
    done = cpt("train", *QUICK, "run.output=o", "run.name=r", "--dry-run")
    assert "o/r" in done.stdout
    assert [path.name for path in (tmp_path / "o" / "r").iterdir()] == ["job"]
    written = tmp_path / "o/r/job/dry-run"
    files = {str(path.relative_to(written)) for path in written.rglob("*") if path.is_file()}
    assert files == {"command.sh", "by-hand/r/job/order.json", "by-hand/r/recipe.yaml"}
    assert json.loads((written / "by-hand/r/job/order.json").read_text())["recipe"]["train"]["max_steps"] == 6
    assert "finished" not in cpt("train", *QUICK, "run.output=o", "run.name=r").stderr


def test_what_the_environment_gave_is_used_and_written_nowhere(cpt: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CPT_CANARY", "xq7canary")
    cpt("train", *QUICK, "train.max_steps=2", "run.output=o", "run.name=r", "eval.prompt='${oc.env:CPT_CANARY}'")
    assert json.loads((tmp_path / "o/r/samples.jsonl").read_text().splitlines()[0])["prompt"] == "xq7canary"  # it was used
    (tmp_path / "o/r/samples.jsonl").unlink()
    (event_file,) = (tmp_path / "o/r/tensorboard").iterdir()
    event_file.unlink()  # the sample is in it too
    holders = [path for path in (tmp_path / "o").rglob("*") if path.is_file() and b"xq7canary" in path.read_bytes()]
    assert holders == []
    assert "${oc.env:CPT_CANARY}" in (tmp_path / "o/r/recipe.json").read_text()
