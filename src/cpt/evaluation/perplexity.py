"""Loss of a model on documents: each by itself, every token after the first predicted once."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
import torch.distributed as dist

from cpt.data.batches import EvaluationBatch
from cpt.evaluation.compare import DocumentLosses
from cpt.model.decoder import Decoder

TOKENS_IN_FLIGHT = 8192
"""Tokens of a forward pass: enough for full-speed matrix products; nothing is kept for a backward pass."""


def rows_in_flight(max_length: int) -> int:
    """Rows of `max_length` tokens in a forward pass."""
    return max(1, TOKENS_IN_FLIGHT // max_length)


@torch.no_grad()
def document_losses(decoder: Decoder, batches: Iterable[EvaluationBatch], documents: int, device: torch.device) -> DocumentLosses:
    """Summed loss and predicted tokens of each document, the same on every rank.

    Args:
        decoder: The model, sharded or not; dropout is off while it runs.
        batches: This rank's share (`cpt.data.batches.evaluation_batches`); every rank has as many.
        documents: How many documents the set holds.
        device: Where the model is.
    """
    nats = torch.zeros(documents, dtype=torch.float64)
    predicted = torch.zeros(documents, dtype=torch.float64)
    training = decoder.training
    decoder.eval()
    for batch in batches:
        tokens, positions, segments, labels = (
            torch.from_numpy(field).to(device) for field in (batch.tokens, batch.positions, batch.documents, batch.labels)
        )
        losses_BT = decoder(tokens, positions, segments, labels).double().cpu()
        counted = torch.from_numpy(batch.labels) != -100
        of_document = torch.from_numpy(batch.owners)[counted]
        nats.index_add_(0, of_document, losses_BT[counted])
        predicted.index_add_(0, of_document, torch.ones(len(of_document), dtype=torch.float64))
    decoder.train(training)
    return _over_ranks(nats, predicted, device)


def _over_ranks(nats: torch.Tensor, predicted: torch.Tensor, device: torch.device) -> DocumentLosses:
    both = torch.stack([nats, predicted]).to(device)
    if dist.is_initialized():
        dist.all_reduce(both)
    sums, counts = both.cpu().numpy()
    return DocumentLosses(sums, counts.astype(np.int64))
