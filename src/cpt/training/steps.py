"""The data loader's view of the plan: item i is everything that a rank needs for one optimizer step."""

from __future__ import annotations

from dataclasses import dataclass

from torch.utils.data import DataLoader, Dataset

from cpt.data.batches import StepBatch, step_batch
from cpt.data.order import DataPlan


@dataclass(frozen=True)
class StepWork:
    """One optimizer step of one rank.

    Args:
        step: k, from 1.
        batch: This rank's micro-batches.
        tokens: Input tokens of the step over all ranks, without padding.
        predicted: Predicted tokens of the step over all ranks.
    """

    step: int
    batch: StepBatch
    tokens: int
    predicted: int


class Steps(Dataset[StepWork]):
    """Steps `first` to `last` of `plan`, for one rank. Position is a pure function: no iterator state to save."""

    def __init__(self, plan: DataPlan, first: int, last: int, rank: int, world_size: int, micro_batch: int) -> None:
        self.plan, self.first, self.last = plan, first, last
        self.rank, self.world_size, self.micro_batch = rank, world_size, micro_batch

    def __len__(self) -> int:
        return max(0, self.last - self.first + 1)

    def __getitem__(self, index: int) -> StepWork:
        step = self.first + index
        batch = step_batch(self.plan, step, self.rank, self.world_size, self.micro_batch)
        return StepWork(step, batch, self.plan.tokens_of_step(step), self.plan.predicted_of_step(step))

    def loader(self) -> DataLoader[StepWork]:
        """One item at a time, in order, made in this process: it takes milliseconds."""
        return DataLoader(self, batch_size=None, shuffle=False, num_workers=0)
