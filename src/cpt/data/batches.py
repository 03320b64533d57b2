"""Sequences as arrays for the model: what each rank computes in a step of training, and in an evaluation.

Letters: A micro-steps, M sequences in a micro-batch, T tokens in a row.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cpt.data.order import DataPlan
from cpt.data.pack import Int64s, Packing, evaluation_pieces, pack
from cpt.data.store import DocumentSet

NOT_PREDICTED = -100
"""Label of a position that predicts nothing: torch's `ignore_index`."""


@dataclass(frozen=True)
class StepBatch:
    """One rank's share of a step.

    Args:
        tokens: Ids [A, M, T]; 0 on padding.
        labels: The next token of the same document [A, M, T]; -100 where there is none.
        positions: Place within the piece [A, M, T], from 0.
        documents: Piece within the row [A, M, T], from 0; padding is one more piece. Attention stays within a piece.
    """

    tokens: Int64s
    labels: Int64s
    positions: Int64s
    documents: Int64s


@dataclass(frozen=True)
class EvaluationBatch:
    """Rows of windows, as in `StepBatch` but [M, T].

    Args:
        owners: Index of the position's document within the evaluated set [M, T]; -1 on padding. With it, per-document sums are
            a bincount.
    """

    tokens: Int64s
    labels: Int64s
    positions: Int64s
    documents: Int64s
    owners: Int64s


def step_batch(plan: DataPlan, step: int, rank: int, world_size: int, micro_batch: int) -> StepBatch:
    """The share of `rank` in step `step` (from 1): sequences rank, rank + world_size, ...

    All ranks get the same number of micro-steps; where the sequences run out, rows are all padding.
    """
    sequences = plan.sequences_of_step(step)
    micro_steps = -(-len(sequences) // (world_size * micro_batch))
    mine = sequences[rank::world_size]
    rows = _rows(plan.documents.store.tokens, plan.packing, mine, (micro_steps * micro_batch, plan.max_length))
    shape = (micro_steps, micro_batch, plan.max_length)
    return StepBatch(*(array.reshape(shape) for array in (rows.tokens, rows.labels, rows.positions, rows.documents)))


def evaluation_batches(
    documents: DocumentSet, max_length: int, micro_batch: int, rank: int = 0, world_size: int = 1
) -> Iterator[EvaluationBatch]:
    """Every document by itself, in windows of `max_length` tokens that overlap by one; the windows are packed to save time.

    Every token after a document's first is predicted exactly once over all ranks. All ranks get the same number of batches.
    """
    store = documents.store
    packing = pack(evaluation_pieces(store.offsets, documents.indices, max_length), max_length)
    place = np.full(len(store), -1)
    place[documents.indices] = np.arange(len(documents))
    width = int(packing.tokens.max(initial=1))
    for batch in range(-(-packing.sequences // (world_size * micro_batch))):
        first = batch * world_size * micro_batch + rank
        mine = np.arange(first, min(first + world_size * micro_batch, packing.sequences), world_size)
        rows = _rows(store.tokens, packing, mine, (micro_batch, width))
        owners = np.where(rows.owners < 0, -1, place[rows.owners])
        yield EvaluationBatch(rows.tokens, rows.labels, rows.positions, rows.documents, owners)


def _rows(store_tokens: NDArray[np.unsignedinteger], packing: Packing, sequences: Int64s, shape: tuple[int, int]) -> EvaluationBatch:
    """`sequences` as the first rows of arrays of `shape`; owners are indices in the store."""
    counts = packing.offsets[sequences + 1] - packing.offsets[sequences]
    pieces = packing.pieces.take(_ranges(packing.offsets[sequences], counts))
    piece_row = np.repeat(np.arange(len(sequences)), counts)
    at = np.repeat(piece_row * shape[1], pieces.lengths) + _ranges(np.zeros_like(sequences), packing.tokens[sequences])
    source = _ranges(pieces.starts, pieces.lengths)
    closing = np.cumsum(pieces.lengths)[pieces.closed] - 1
    labels = store_tokens[np.minimum(source + 1, len(store_tokens) - 1)].astype(np.int64)
    labels[closing] = NOT_PREDICTED

    def spread(values: NDArray[np.generic], padding: Int64s | int) -> Int64s:
        array = np.empty(shape, dtype=np.int64)
        array[:] = padding
        array.reshape(-1)[at] = values
        return array

    padded_pieces = np.zeros((shape[0], 1), dtype=np.int64)
    padded_pieces[: len(counts), 0] = counts
    return EvaluationBatch(
        tokens=spread(store_tokens[source], 0),
        labels=spread(labels, NOT_PREDICTED),
        positions=spread(_ranges(np.zeros_like(pieces.starts), pieces.lengths), _padding_positions(packing, sequences, shape)),
        documents=spread(np.repeat(_ranges(np.zeros_like(counts), counts), pieces.lengths), padded_pieces),
        owners=spread(np.repeat(pieces.documents, pieces.lengths), -1),
    )


def _padding_positions(packing: Packing, sequences: Int64s, shape: tuple[int, int]) -> Int64s:
    """Positions as if every row were padding from its last token on: padding is a piece like any other."""
    filled = np.zeros((shape[0], 1), dtype=np.int64)
    filled[: len(sequences), 0] = packing.tokens[sequences]
    return np.asarray(np.maximum(np.arange(shape[1]) - filled, 0), dtype=np.int64)


def _ranges(starts: Int64s, lengths: Int64s) -> Int64s:
    """range(start, start + length) of each pair, one after the other."""
    before = np.cumsum(lengths) - lengths
    return np.asarray(np.repeat(starts - before, lengths) + np.arange(int(lengths.sum())), dtype=np.int64)
