"""Packing loses and doubles nothing; the order is a permutation that any step can ask for by itself."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from cpt.data.order import DataPlan, permute
from cpt.data.pack import evaluation_pieces, pack, training_pieces
from cpt.data.store import DocumentSet

MakeDocuments = Callable[[Sequence[int]], DocumentSet]
LENGTHS = st.lists(st.integers(1, 60), min_size=1, max_size=60)


def offsets_of(lengths: list[int]) -> np.ndarray:
    return np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)


@given(LENGTHS, st.integers(2, 40), st.data())
def test_packing_holds_every_token_once_and_cuts_only_what_is_too_long(lengths: list[int], max_length: int, data: st.DataObject) -> None:
    chosen = data.draw(st.sets(st.integers(0, len(lengths) - 1), min_size=1))
    documents, offsets = np.array(sorted(chosen)), offsets_of(lengths)
    packing = pack(training_pieces(offsets, documents, max_length), max_length)
    pieces = packing.pieces
    seen = Counter(int(start + n) for start, length in zip(pieces.starts, pieces.lengths, strict=True) for n in range(length))
    assert seen == Counter(int(token) for d in documents for token in range(offsets[d], offsets[d + 1]))
    for start, length, document, closed in zip(pieces.starts, pieces.lengths, pieces.documents, pieces.closed, strict=True):
        assert offsets[document] <= start < start + length <= offsets[document + 1]
        assert closed == (start + length == offsets[document + 1])
        assert closed or length == max_length
    assert (packing.tokens <= max_length).all()
    assert packing.offsets[0] == 0
    assert packing.offsets[-1] == len(pieces.starts)
    assert (np.diff(packing.offsets) > 0).all()
    assert packing.tokens.sum() == sum(lengths[d] for d in documents)
    assert packing.predicted.sum() == sum(lengths[d] - 1 for d in documents)


@given(LENGTHS, st.integers(2, 40))
def test_packing_is_best_fit_decreasing(lengths: list[int], max_length: int) -> None:
    packing = pack(training_pieces(offsets_of(lengths), np.arange(len(lengths)), max_length), max_length)
    rooms: list[int] = []
    for length in sorted(packing.pieces.lengths, reverse=True):
        fitting = [room for room in rooms if room >= length]
        if fitting:
            rooms.remove(min(fitting))
        rooms.append((min(fitting) if fitting else max_length) - int(length))
    assert sorted(max_length - packing.tokens) == sorted(rooms)


@given(LENGTHS, st.integers(2, 40))
def test_evaluation_windows_predict_every_token_after_the_first_once(lengths: list[int], max_length: int) -> None:
    offsets = offsets_of(lengths)
    pieces = evaluation_pieces(offsets, np.arange(len(lengths)), max_length)
    predicted = Counter(int(start + n) for start, length in zip(pieces.starts, pieces.lengths, strict=True) for n in range(1, length))
    assert predicted == Counter(int(token) for d in range(len(lengths)) for token in range(offsets[d] + 1, offsets[d + 1]))
    assert (pieces.lengths <= max_length).all()


def test_packing_a_million_documents_takes_seconds() -> None:
    lengths = np.random.default_rng(0).lognormal(6, 1.2, 1_000_000).astype(np.int64) + 1
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    begin = time.process_time()
    packing = pack(training_pieces(offsets, np.arange(len(lengths)), 8192), 8192)
    assert packing.fill > 0.999
    assert time.process_time() - begin < 10


@given(st.integers(1, 3000), st.integers(0, 2**64 - 1))
def test_permutation_is_a_bijection(size: int, key: int) -> None:
    assert sorted(permute(np.arange(size), size, key)) == list(range(size))


def test_permutations_of_different_keys_have_nothing_in_common() -> None:
    size, orders = 1_000, [permute(np.arange(1_000), 1_000, key) for key in range(200)]
    fixed = [np.count_nonzero(one == other) for one, other in pairwise(orders)]
    assert 0.6 < np.mean(fixed) < 1.5  # 1 is expected of random ones
    first_places = np.bincount([order[0] * 10 // size for order in orders], minlength=10)
    assert first_places.min() >= 5  # 20 are expected in each tenth


def test_small_permutations_reach_every_order() -> None:
    counts = Counter(tuple(permute(np.arange(4), 4, key)) for key in range(2_400))
    assert len(counts) == 24
    assert max(counts.values()) < 160  # 100 are expected


def test_a_step_far_away_is_as_near_as_the_first(make_documents: MakeDocuments) -> None:
    plan = DataPlan(make_documents([5] * 40), 6, 4, seed=1)
    begin = time.process_time()
    assert len(plan.sequences_of_step(10**9)) == 4
    assert time.process_time() - begin < 0.2


@given(st.lists(st.integers(0, 30), min_size=3, max_size=12), st.integers(1, 5), st.integers(0, 2**32 - 1))
def test_every_sequence_stands_once_in_each_epoch(make_documents: MakeDocuments, lengths: list[int], batch: int, seed: int) -> None:
    plan = DataPlan(make_documents(lengths), 8, batch, seed)
    for epoch in range(3):
        steps = range(epoch * plan.steps_per_epoch + 1, (epoch + 1) * plan.steps_per_epoch + 1)
        seen = [plan.sequences_of_step(step) for step in steps]
        assert sorted(np.concatenate(seen)) == list(range(plan.sequences))
        assert [len(sequences) for sequences in seen[:-1]] == [batch] * (len(seen) - 1)
        assert sum(plan.tokens_of_step(step) for step in steps) == plan.documents.tokens
        assert sum(plan.predicted_of_step(step) for step in steps) == plan.documents.predicted
        assert {int(d) for step in steps for d in plan.documents_of_step(step)} == set(range(len(lengths)))


def test_seed_and_epoch_change_the_order(make_documents: MakeDocuments) -> None:
    documents = make_documents([9] * 50)
    first, other = (DataPlan(documents, 10, 50, seed) for seed in (1, 2))
    orders = {tuple(plan.sequences_of_step(step)) for plan in (first, other) for step in (1, 2, 3)}
    assert len(orders) == 6
    assert (first.sequences_of_step(2) == DataPlan(documents, 10, 50, 1).sequences_of_step(2)).all()
