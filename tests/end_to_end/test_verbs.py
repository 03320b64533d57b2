"""What can be done with a run, a checkpoint and a Hugging Face folder; transformers is the judge."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from command import run_cpt, write_domain
from runs import QUICK
from transformers import AutoModelForCausalLM, AutoTokenizer

from cpt.model import hf
from cpt.model.decoder import Decoder


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with checkpoints at steps 2, 4 and 6."""
    folder = tmp_path_factory.mktemp("run")
    write_domain(folder)
    run_cpt(folder, "train", *QUICK, "run.output=o", "run.name=r", "checkpoint.every=2")
    return folder / "o" / "r"


@pytest.fixture
def documents(tmp_path: Path) -> Path:
    return tmp_path / "domain.jsonl"


def test_transformers_opens_final_and_agrees(run: Path) -> None:
    theirs = AutoModelForCausalLM.from_pretrained(run / "final", dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(run / "final")
    ours = Decoder(hf.read_architecture(run / "final"))
    hf.load(run / "final", ours)
    ids = torch.tensor([tokenizer("def main(): return 1\n<|endoftext|>")["input_ids"]])
    with torch.no_grad():
        expected = theirs(ids).logits
        found = ours.eval()(ids, torch.arange(ids.shape[1])[None])
    assert (expected - found).abs().max() < 1e-4


def test_eval_agrees_with_transformers_and_between_folders(cpt: Callable, run: Path, documents: Path) -> None:
    found = json.loads(cpt("eval", str(run), "--on", f"mine={documents}", "--json").stdout)["mine"]
    cpt("export", str(run), "--to", "exported", "--checkpoint", "last")
    again = json.loads(cpt("eval", "exported", "--on", f"mine={documents}", "--max-length", "64", "--json").stdout)["mine"]
    assert found == pytest.approx(again, rel=1e-6)
    assert (found["documents"], found["max_length"]) == (60, 64)
    assert found["perplexity"] == pytest.approx(math.exp(found["loss"]))
    whole = json.loads(cpt("eval", str(run), "--on", f"mine={documents}", "--max-length", "256", "--json").stdout)["mine"]
    assert whole["loss"] == pytest.approx(_transformers_loss(run / "final", documents), abs=1e-3)
    text_bytes = sum(len(json.loads(line)["text"].encode()) for line in documents.read_text().splitlines())
    assert whole["bits_per_byte"] == pytest.approx(whole["loss"] * whole["tokens"] / math.log(2) / text_bytes)


def test_generate_continues_greedily_as_transformers_does(cpt: Callable, run: Path) -> None:
    found = cpt("generate", str(run), "--prompt", "import", "--max-tokens", "12", "--greedy").stdout
    theirs = AutoModelForCausalLM.from_pretrained(run / "final", dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(run / "final")
    ids = tokenizer("import", return_tensors="pt")["input_ids"]
    out = theirs.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=12, do_sample=False, pad_token_id=256)
    assert found == tokenizer.decode(out[0, ids.shape[1] :], skip_special_tokens=True) + "\n"


@pytest.mark.parametrize("which", ["2", *[pytest.param(which, marks=pytest.mark.long) for which in ("best", "last")]])
def test_any_checkpoint_can_be_evaluated(cpt: Callable, run: Path, documents: Path, which: str) -> None:
    found = json.loads(cpt("eval", str(run), "--checkpoint", which, "--on", f"mine={documents}", "--json").stdout)["mine"]
    final = json.loads(cpt("eval", str(run), "--on", f"mine={documents}", "--json").stdout)["mine"]
    assert (found["loss"] == pytest.approx(final["loss"], rel=1e-6)) == (which != "2")


def test_a_run_starts_from_an_earlier_run_and_names_it(cpt: Callable, run: Path, tmp_path: Path) -> None:
    cpt("train", *QUICK, "train.max_steps=2", f"model.init={run}", "run.output=o", "run.name=next")
    manifest = json.loads((tmp_path / "o/next/manifest.json").read_text())
    assert manifest["parent"] == str(run)
    first = json.loads((tmp_path / "o/next/metrics.jsonl").read_text().splitlines()[0])
    assert first["validation/held_out/loss"] < 5.4  # a random model: log(320) = 5.77


def test_what_is_not_there_is_named(cpt: Callable, run: Path, documents: Path) -> None:
    assert "no such checkpoint" in cpt("eval", str(run), "--checkpoint", "3", "--on", f"a={documents}", code=2).stderr
    assert "nowhere" in cpt("generate", "nowhere", "--prompt", "a", code=2).stderr
    assert "NAME=FILE" in cpt("eval", str(run), "--on", "mine", code=2).stderr


def _transformers_loss(folder: Path, documents: Path) -> float:
    """Mean loss over every token after the first of each document: text, EOS; no BOS."""
    model, tokenizer = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval(), AutoTokenizer.from_pretrained(folder)
    nats, predicted = 0.0, 0
    for line in documents.read_text().splitlines():
        ids = torch.tensor([[*tokenizer(json.loads(line)["text"], add_special_tokens=False)["input_ids"], tokenizer.eos_token_id]])
        with torch.no_grad():
            nats += float(model(ids, labels=ids).loss) * (ids.shape[1] - 1)
        predicted += ids.shape[1] - 1
    return nats / predicted


def test_an_export_replaces_an_earlier_one_whole_and_nothing_else(cpt: Callable, run: Path, tmp_path: Path) -> None:
    cpt("export", str(run), "--to", "exported")
    (tmp_path / "exported" / "model-00002-of-00002.safetensors").touch()
    cpt("export", str(run), "--to", "exported")
    assert not (tmp_path / "exported" / "model-00002-of-00002.safetensors").exists()
    assert "no model to replace" in cpt("export", str(run), "--to", ".", code=2).stderr
    assert (tmp_path / "domain.jsonl").exists()
