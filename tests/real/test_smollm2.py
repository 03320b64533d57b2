"""The job itself, on a real pretrained model and a real technical manual: about a quarter of an hour on two cores."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.real, pytest.mark.timeout(3600)]
MAX_LENGTH, BATCH, STEPS = 512, 8, 16


def cpt(*argv: str) -> str:
    """stdout of a command that must succeed, on all cores."""
    environment = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    result = subprocess.run([sys.executable, "-m", "cpt", *argv], capture_output=True, text=True, env=environment, check=False)
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.fixture(scope="module")
def run(smollm2: Path, manual: Path, general: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model, continued on 65,536 tokens of the manual."""
    output = tmp_path_factory.mktemp("runs")
    cpt(
        "train",
        "model=auto",
        f"model.init={smollm2}",
        "data=jsonl",
        f"data.train={manual}/train.jsonl",
        f"data.validation={{domain: {manual}/heldout.jsonl, general: {general}/heldout.jsonl}}",
        f"train.max_length={MAX_LENGTH}",
        f"train.global_batch_size={BATCH}",
        f"train.max_steps={STEPS}",
        "train.validate_every=null",
        "train.precision=fp32",
        "optim.lr=1e-4",
        "sched.warmup_steps=2",
        "eval.max_tokens=16",
        f"run.output={output}",
        "run.name=smollm2-manual",
    )
    return output / "smollm2-manual"


def texts(path: Path) -> list[str]:
    return [json.loads(line)["text"] for line in path.read_text("utf-8").splitlines()]


def reference_loss(folder: Path, documents: list[str], max_length: int) -> float:
    """Mean nats a token of `transformers`' own model: each document by itself, in windows that overlap by one token."""
    torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")
    model, tokenizer = transformers.AutoModelForCausalLM.from_pretrained(folder), transformers.AutoTokenizer.from_pretrained(folder)
    nats, predicted = 0.0, 0
    for text in documents:
        ids = [*tokenizer(text).input_ids, model.generation_config.eos_token_id]
        for start in range(0, len(ids) - 1, max_length - 1):
            window = torch.tensor([ids[start : start + max_length]])
            with torch.no_grad():
                nats += model(window, labels=window).loss.item() * (window.shape[1] - 1)
            predicted += window.shape[1] - 1
    return nats / predicted


def test_the_loss_of_the_base_is_the_loss_that_transformers_sees(smollm2: Path, manual: Path, tmp_path: Path) -> None:
    pages = texts(manual / "heldout.jsonl")[:6]
    some = tmp_path / "some.jsonl"
    some.write_text("".join(json.dumps({"text": text}) + "\n" for text in pages))
    seen = json.loads(cpt("eval", str(smollm2), "--on", f"pages={some}", "--max-length", str(MAX_LENGTH), "--json"))["pages"]
    assert seen["loss"] == pytest.approx(reference_loss(smollm2, pages, MAX_LENGTH), abs=1e-3)
    assert seen["perplexity"] == pytest.approx(math.exp(seen["loss"]))


def test_held_out_pages_get_better_and_other_text_stays(run: Path) -> None:
    manifest: dict[str, Any] = json.loads((run / "manifest.json").read_text())
    assert (manifest["status"], manifest["steps"]) == ("completed", STEPS)
    assert manifest["tokens"] >= 50_000
    domain, general = manifest["summary"]["domain"], manifest["summary"]["general"]
    assert domain["verdict"] == "better"
    assert domain["interval"][1] < 0
    assert general["change"] < -domain["change"], "more was lost on other text than was gained on the manual"


def test_what_it_leaves_is_the_better_model_for_transformers_too(run: Path, smollm2: Path, manual: Path) -> None:
    pages = texts(manual / "heldout.jsonl")[:4]
    assert reference_loss(run / "final", pages, MAX_LENGTH) < reference_loss(smollm2, pages, MAX_LENGTH)


def test_evaluating_the_run_again_gives_the_summary(run: Path, manual: Path) -> None:
    domain = json.loads(cpt("eval", str(run), "--on", f"domain={manual}/heldout.jsonl", "--json"))["domain"]
    assert domain["loss"] == pytest.approx(json.loads((run / "manifest.json").read_text())["summary"]["domain"]["after"], abs=1e-4)
