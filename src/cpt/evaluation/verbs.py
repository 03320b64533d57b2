"""`eval`, `generate` and `export` in a worker process, on any checkpoint and any Hugging Face folder."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch

from cpt import storage
from cpt.data.batches import evaluation_batches
from cpt.data.store import DocumentSet, TokenStore
from cpt.data.tokenizer import TextTokenizer
from cpt.evaluation.compare import DocumentLosses
from cpt.evaluation.perplexity import document_losses, rows_in_flight
from cpt.job import Job, Weights
from cpt.model import checkpoint, hf
from cpt.model.decoder import Decoder
from cpt.model.generate import Sampling
from cpt.model.generate import generate as continue_ids


def evaluate(job: Job) -> dict[str, dict[str, float]]:
    """Losses on named sets: `{name: {"loss", "perplexity", "bits_per_byte", "tokens", "documents", "max_length"}}`."""
    decoder, device = _load(job.weights)
    max_length = job.options["max_length"]
    return {
        name: _measure(decoder, TokenStore(Path(folder)).everything(), max_length, device) for name, folder in job.options["sets"].items()
    }


def _measure(decoder: Decoder, documents: DocumentSet, max_length: int, device: torch.device) -> dict[str, float]:
    batches = evaluation_batches(documents, max_length, rows_in_flight(max_length))
    losses = document_losses(decoder, batches, len(documents), device)
    return report(losses, int(documents.text_sizes_bytes.sum()), max_length)


def report(losses: DocumentLosses, text_bytes: int, max_length: int) -> dict[str, float]:
    """The figures of one set."""
    return {
        "loss": losses.loss,
        "perplexity": math.exp(losses.loss),
        "bits_per_byte": float(losses.nats.sum()) / math.log(2) / text_bytes,
        "tokens": int(losses.predicted.sum()),
        "documents": len(losses.predicted),
        "max_length": max_length,
    }


def generate(job: Job) -> str:
    """The continuation of a prompt."""
    decoder, _ = _load(job.weights)
    options: dict[str, Any] = job.options
    tokenizer = TextTokenizer.open(Path(options["tokenizer"]), options["eos_id"], options["bos_id"])
    ids = continue_ids(
        decoder,
        tokenizer.encode(options["prompt"]),
        options["max_tokens"],
        eos_id=tokenizer.eos_id,
        sampling=None if options["greedy"] else Sampling(seed=options["seed"]),
    )
    return tokenizer.decode(ids)


def export(job: Job) -> str:
    """Writes the weights as a Hugging Face folder; the tokenizer is the caller's to add."""
    decoder, _ = _load(job.weights)
    assert job.weights is not None
    folder = Path(job.options["folder"])
    special = {"bos_id": job.options["bos_id"], "eos_id": job.options["eos_id"]}
    with storage.reported(str(folder)):
        hf.write(folder, decoder.state_dict(), job.weights.architecture, getattr(torch, job.options["dtype"]), **special)
    return str(folder)


def _load(weights: Weights | None) -> tuple[Decoder, torch.device]:
    """The whole model in fp32 on the best device here, without dropout."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    assert weights is not None
    assert weights.folder is not None
    decoder = Decoder(weights.architecture)
    (checkpoint if weights.kind == "checkpoint" else hf).load(weights.folder, decoder)
    return decoder.to(device).eval(), device
