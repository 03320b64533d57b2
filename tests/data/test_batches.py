"""Batches are what a plain loop over documents would give, whatever the number of ranks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from cpt.data.batches import NOT_PREDICTED, StepBatch, evaluation_batches, step_batch
from cpt.data.order import DataPlan
from cpt.data.store import DocumentSet

MakeDocuments = Callable[[Sequence[int]], DocumentSet]
LENGTHS = st.lists(st.integers(0, 30), min_size=2, max_size=10)
Row = tuple[list[int], list[int], list[int], list[int]]


def reference_row(plan: DataPlan, sequence: int) -> Row:
    """A row by the definition, token by token."""
    packing, store = plan.packing, plan.documents.store
    tokens, labels, positions, documents = [], [], [], []
    for place, piece in enumerate(range(packing.offsets[sequence], packing.offsets[sequence + 1])):
        ids = store.document(int(packing.pieces.documents[piece]))
        begin = int(packing.pieces.starts[piece] - store.offsets[packing.pieces.documents[piece]])
        for position in range(int(packing.pieces.lengths[piece])):
            at = begin + position
            tokens.append(int(ids[at]))
            labels.append(int(ids[at + 1]) if at + 1 < len(ids) else NOT_PREDICTED)
            positions.append(position)
            documents.append(place)
    pad = plan.max_length - len(tokens)
    last = documents[-1] + 1
    return tokens + [0] * pad, labels + [NOT_PREDICTED] * pad, [*positions, *range(pad)], documents + [last] * pad


def rows_of(batch: StepBatch) -> list[Row]:
    flat = [array.reshape(-1, array.shape[-1]).tolist() for array in (batch.tokens, batch.labels, batch.positions, batch.documents)]
    return [tuple(row) for row in zip(*flat, strict=True)]


@given(LENGTHS, st.integers(2, 12), st.integers(1, 7), st.integers(1, 3), st.data())
def test_any_number_of_ranks_computes_the_reference_rows_once(
    make_documents: MakeDocuments, lengths: list[int], max_length: int, batch: int, micro_batch: int, data: st.DataObject
) -> None:
    plan = DataPlan(make_documents(lengths), max_length, batch, seed=3)
    step = data.draw(st.integers(1, 2 * plan.steps_per_epoch))
    expected = [reference_row(plan, int(sequence)) for sequence in plan.sequences_of_step(step)]
    padding: Row = ([0] * max_length, [NOT_PREDICTED] * max_length, [*range(max_length)], [0] * max_length)
    for world_size in range(1, 6):
        batches = [step_batch(plan, step, rank, world_size, micro_batch) for rank in range(world_size)]
        micro_steps = -(-len(expected) // (world_size * micro_batch))
        for rank, share in enumerate(batches):
            assert share.tokens.shape == (micro_steps, micro_batch, max_length)
            assert {array.dtype for array in (share.tokens, share.labels, share.positions, share.documents)} == {np.dtype("int64")}
            mine = expected[rank::world_size]
            assert rows_of(share) == mine + [padding] * (micro_steps * micro_batch - len(mine))
        predicted = sum(np.count_nonzero(share.labels != NOT_PREDICTED) for share in batches)
        assert predicted == plan.predicted_of_step(step)


@given(LENGTHS, st.integers(2, 12), st.integers(1, 3), st.data())
def test_evaluation_predicts_every_token_of_every_document_once(
    make_documents: MakeDocuments, lengths: list[int], max_length: int, micro_batch: int, data: st.DataObject
) -> None:
    everything = make_documents(lengths)
    chosen = np.array(sorted(data.draw(st.sets(st.integers(0, len(lengths) - 1), min_size=1))))
    documents = type(everything)(everything.store, chosen)
    expected = Counter(
        (place, int(ids[at - 1]), int(ids[at]))
        for place, ids in enumerate(everything.store.document(int(d)) for d in chosen)
        for at in range(1, len(ids))
    )
    for world_size in (1, 2, 3):
        shares = [[*evaluation_batches(documents, max_length, micro_batch, rank, world_size)] for rank in range(world_size)]
        assert len({len(share) for share in shares}) == 1
        found: Counter[tuple[int, int, int]] = Counter()
        for batch in (batch for share in shares for batch in share):
            assert batch.tokens.shape[0] == micro_batch
            assert batch.tokens.shape[1] <= max_length
            assert ((batch.owners == -1) <= (batch.labels == NOT_PREDICTED)).all()
            at = batch.labels != NOT_PREDICTED
            found += Counter(zip(batch.owners[at].tolist(), batch.tokens[at].tolist(), batch.labels[at].tolist(), strict=True))
        assert found == expected


def test_a_label_crosses_the_cut_of_a_long_document(make_documents: MakeDocuments) -> None:
    documents = make_documents([7])
    a, b, c, d, e, f, g, eos = documents.store.document(0).tolist()
    batch = step_batch(DataPlan(documents, 4, 2, seed=0), 1, 0, 1, 2)
    rows = dict(zip(map(tuple, batch.tokens[0].tolist()), batch.labels[0].tolist(), strict=True))
    assert rows == {(a, b, c, d): [b, c, d, e], (e, f, g, eos): [f, g, eos, NOT_PREDICTED]}
