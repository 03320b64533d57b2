"""Better, worse or tie: two models on the same documents, with an interval. Torch-free.

Source: the paired bootstrap over documents (Efron and Tibshirani 1993, chapter 8; Koehn 2004 for its use on held-out text).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from cpt.errors import DataError

RESAMPLES = 10_000
FIGURE_POINTS = 500
Verdict = Literal["better", "worse", "tie"]


@dataclass(frozen=True)
class DocumentLosses:
    """Losses of one model on one set.

    Args:
        nats: Summed loss of each document, float64 [documents].
        predicted: Predicted tokens of each document, int64 [documents].
    """

    nats: np.ndarray
    predicted: np.ndarray

    @property
    def loss(self) -> float:
        """Mean loss in nats over all predicted tokens."""
        return float(self.nats.sum() / self.predicted.sum())

    def to_json(self) -> dict[str, list[float]]:
        """Plain lists, exact."""
        return {"nats": self.nats.tolist(), "predicted": self.predicted.tolist()}

    @classmethod
    def from_json(cls, data: dict[str, list[float]]) -> DocumentLosses:
        """What `to_json` wrote."""
        return cls(np.asarray(data["nats"], np.float64), np.asarray(data["predicted"], np.int64))


@dataclass(frozen=True)
class Comparison:
    """Loss before and after, in nats a token; `interval` is the 95 % interval of `change`, None where one document allows none."""

    before: float
    after: float
    change: float
    interval: tuple[float, float] | None
    verdict: Verdict

    def to_json(self) -> dict[str, object]:
        """As it stands in the manifest's `summary`."""
        return asdict(self) | {"interval": self.interval and list(self.interval)}


def compare(before: DocumentLosses, after: DocumentLosses, seed: int = 0) -> Comparison:
    """The change of the token-weighted mean loss and its percentile interval.

    Raises:
        DataError: The two were not measured on the same documents.
    """
    if not np.array_equal(before.predicted, after.predicted):
        raise DataError("evaluation", "two sets of documents", "before and after must be measured on the same documents")
    change = after.loss - before.loss
    if len(before.predicted) == 1:
        return Comparison(before.loss, after.loss, change, None, "tie")
    low, high = np.percentile(_resampled_changes(after.nats - before.nats, before.predicted, seed), [2.5, 97.5])
    verdict: Verdict = "better" if high < 0 else "worse" if low > 0 else "tie"
    return Comparison(before.loss, after.loss, change, (float(low), float(high)), verdict)


def change_figure(name: str, before: DocumentLosses, after: DocumentLosses) -> dict[str, Any]:
    """How a set's documents share in its change: each one's change of the mean loss, the most improved first, as Plotly's JSON.

    Args:
        name: The set.
        before, after: Its losses under two models.
    """
    changes = np.sort((after.nats - before.nats) / before.predicted)
    share = np.linspace(0, 1, min(len(changes), FIGURE_POINTS))
    title = f"{name}: {np.mean(changes < 0):.0%} of {len(changes):,} documents improved"
    return {
        "data": [{"type": "scatter", "mode": "lines", "name": name, "x": share.tolist(), "y": np.quantile(changes, share).tolist()}],
        "layout": {
            "title": {"text": title},
            "xaxis": {"title": {"text": "share of documents"}},
            "yaxis": {"title": {"text": "change of loss (nats a token)"}},
        },
    }


def _resampled_changes(nats_change: np.ndarray, predicted: np.ndarray, seed: int) -> np.ndarray:
    """The change in each of `RESAMPLES` draws of the documents with replacement, as multinomial counts."""
    generator = np.random.default_rng(seed)
    documents = len(predicted)
    changes = np.empty(RESAMPLES)
    for start in range(0, RESAMPLES, 500):  # bounded memory with many documents
        counts = generator.multinomial(documents, np.full(documents, 1 / documents), size=500)
        changes[start : start + 500] = (counts @ nats_change) / np.maximum(counts @ predicted, 1)
    return changes
