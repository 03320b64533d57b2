"""How far a run is: all that a checkpoint keeps besides tensors."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

from cpt.evaluation.compare import DocumentLosses

Losses = dict[str, DocumentLosses]
"""Losses by the name of the validation set."""

FILE = "progress.json"


@dataclass
class Position:
    """Where a run stands.

    Args:
        step: Optimizer steps done.
        tokens: Tokens trained on so far.
        before: Losses of the base model, before the first step.
    """

    step: int = 0
    tokens: int = 0
    before: Losses = field(default_factory=dict)

    def write(self, folder: Path) -> None:
        """Writes the position into a checkpoint's folder."""
        before = {name: losses.to_json() for name, losses in self.before.items()}
        (folder / FILE).write_text(json.dumps({"step": self.step, "tokens": self.tokens, "before": before}))

    @classmethod
    def read(cls, folder: Path) -> Position:
        """The position of a checkpoint."""
        data = json.loads((folder / FILE).read_bytes())
        return cls(data["step"], data["tokens"], {name: DocumentLosses.from_json(losses) for name, losses in data["before"].items()})
