"""Better, worse or tie, with an interval that means what it says."""

from __future__ import annotations

import numpy as np
import pytest

from cpt.errors import DataError
from cpt.evaluation.compare import DocumentLosses, compare


def losses(per_token: np.ndarray, predicted: np.ndarray) -> DocumentLosses:
    return DocumentLosses(per_token * predicted, predicted)


@pytest.mark.parametrize(("shift", "verdict"), [(-0.2, "better"), (0.2, "worse"), (0.0, "tie")])
def test_a_shift_larger_than_the_noise_is_a_verdict(shift: float, verdict: str) -> None:
    generator = np.random.default_rng(0)
    predicted = generator.integers(50, 500, 60)
    base = generator.normal(2.4, 0.3, 60)
    comparison = compare(losses(base, predicted), losses(base + shift + generator.normal(0, 0.1, 60), predicted))
    assert comparison.verdict == verdict
    assert comparison.interval is not None
    assert comparison.interval[0] <= comparison.change <= comparison.interval[1]
    assert comparison.change == pytest.approx(comparison.after - comparison.before)


def test_the_interval_covers_the_truth_19_times_in_20() -> None:
    generator = np.random.default_rng(1)
    covered = 0
    for _ in range(100):
        predicted = generator.integers(50, 500, 80)
        base = generator.normal(2.4, 0.3, 80)
        interval = compare(losses(base, predicted), losses(base - 0.05 + generator.normal(0, 0.1, 80), predicted)).interval
        assert interval is not None
        covered += interval[0] <= -0.05 <= interval[1]
    assert 88 <= covered <= 100


def test_one_document_allows_no_verdict() -> None:
    comparison = compare(losses(np.array([2.0]), np.array([10])), losses(np.array([1.0]), np.array([10])))
    assert (comparison.verdict, comparison.interval, comparison.change) == ("tie", None, -1.0)


def test_other_documents_cannot_be_compared() -> None:
    with pytest.raises(DataError, match="same documents"):
        compare(losses(np.ones(2), np.array([3, 4])), losses(np.ones(2), np.array([3, 5])))


def test_losses_survive_json_exactly() -> None:
    before = losses(np.random.default_rng(2).normal(size=5), np.arange(1, 6))
    after = DocumentLosses.from_json(before.to_json())
    assert np.array_equal(before.nats, after.nats)
    assert np.array_equal(before.predicted, after.predicted)
