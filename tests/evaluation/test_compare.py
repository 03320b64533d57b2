"""Better, worse or tie, with an interval that means what it says."""

from __future__ import annotations

import json

import numpy as np
import pytest

from cpt.errors import DataError
from cpt.evaluation.compare import FIGURE_POINTS, DocumentLosses, change_figure, compare


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


def test_the_figure_shows_each_document_once_sorted() -> None:
    before = losses(np.array([2.0, 3.0, 4.0, 1.0]), np.array([10, 20, 30, 40]))
    after = losses(np.array([1.5, 3.1, 2.0, 0.9]), np.array([10, 20, 30, 40]))
    figure = json.loads(json.dumps(change_figure("domain", before, after)))
    assert figure["data"][0]["y"] == pytest.approx([-2.0, -0.5, -0.1, 0.1])
    assert figure["data"][0]["x"] == pytest.approx([0, 1 / 3, 2 / 3, 1])
    assert figure["layout"]["title"]["text"] == "domain: 75% of 4 documents improved"


def test_the_figure_of_many_documents_stays_small() -> None:
    predicted = np.full(20_000, 7)
    figure = change_figure("general", losses(np.zeros(20_000), predicted), losses(np.arange(20_000), predicted))
    assert len(figure["data"][0]["y"]) == FIGURE_POINTS
    assert figure["data"][0]["y"][-1] == 19_999
