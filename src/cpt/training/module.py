"""One Lightning batch is one optimizer step. The adapter between Lightning and the decoder; no mathematics of its own but the step."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import lightning.pytorch as pl
import numpy as np
import torch
import torch.distributed as dist
from torch.distributed.tensor import DTensor
from torch.nn.utils import clip_grad_norm_
from torch.optim import Optimizer
from typing_extensions import override

from cpt.errors import CheckpointError
from cpt.model.decoder import Decoder
from cpt.recipe.architecture import Architecture
from cpt.recipe.schedule import learning_rate
from cpt.recipe.schema import Recipe
from cpt.training.optim import make_optimizer
from cpt.training.signals import Stop, StopSignals
from cpt.training.steps import StepWork
from cpt.training.strategy import FsdpStrategy

NO_CLIP = math.inf


@dataclass(frozen=True)
class Step:
    """What one optimizer step did, the same on every rank.

    Args:
        number: k, from 1.
        loss: Mean loss in nats over the step's predicted tokens.
        learning_rate: The rate it used.
        grad_norm: L2 norm of the gradient before clipping.
        tokens: Input tokens of the step that are not padding, over all ranks.
        seconds: Wall time.
        stop: The strongest reason to stop that any rank was given.
    """

    number: int
    loss: float
    learning_rate: float
    grad_norm: float
    tokens: int
    seconds: float
    stop: Stop


class CptModule(pl.LightningModule):
    """A decoder and the recipe that trains it.

    Args:
        recipe: The recipe.
        architecture: The decoder's shape.
        total_steps: Steps of the whole run, which the learning-rate curve needs.
        fill: Fills the decoder, once it is sharded and has memory, and its optimizer.
        signals: What this process was told.
    """

    def __init__(
        self,
        recipe: Recipe,
        architecture: Architecture,
        total_steps: int,
        fill: Callable[[Decoder, Optimizer], None],
        signals: StopSignals,
    ) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.recipe, self.total_steps = recipe, total_steps
        self.fill, self._signals = fill, signals
        dropouts = (recipe.model.hidden_dropout, recipe.model.attention_dropout, recipe.model.ffn_dropout)
        with torch.device("meta"):
            self.decoder = Decoder(architecture, *dropouts)
        self.last: Step | None = None

    def configure_model(self) -> None:
        """Nothing: the strategy shards the decoder and gives it memory."""

    def configure_optimizers(self) -> Optimizer:
        """The recipe's optimizer."""
        return make_optimizer(self.decoder, self.recipe.optim)

    @property
    def optimizer(self) -> Optimizer:
        """The optimizer itself, without Lightning's wrapper."""
        wrapped = self.optimizers()
        assert not isinstance(wrapped, list)
        return wrapped.optimizer

    @override
    def transfer_batch_to_device(self, batch: StepWork, device: torch.device, dataloader_idx: int) -> StepWork:
        """Nothing: micro-batches move one by one."""
        return batch

    @override
    def training_step(self, work: StepWork, batch_idx: int) -> None:
        """Step k: all micro-batches of this rank, one gradient reduction, one update.

        The loss is the sum over the step's predicted tokens divided by their number over all ranks, which every rank knows from the data
        plan; FSDP averages gradients over ranks, hence the factor `world_size`.

        Raises:
            CheckpointError: The loss or the gradient is not finite; nothing was updated.
        """
        started = time.perf_counter()
        rate = learning_rate(self.recipe.sched, self.recipe.optim.lr, work.step, self.total_steps)
        predicted = max(1, work.predicted)  # a step may hold nothing but documents of one token
        nats = self._backward(work, scale=self.trainer.world_size / predicted)
        grad_norm = self._clip()
        loss, stop = self._agree(nats, predicted)
        if not math.isfinite(loss + grad_norm):
            raise not_finite(work.step, loss, grad_norm)
        self._update(rate)
        self.last = Step(work.step, loss, rate, grad_norm, work.tokens, time.perf_counter() - started, stop)

    def _backward(self, work: StepWork, scale: float) -> torch.Tensor:
        """Gradients of this rank's share; returns its summed loss in nats."""
        batch, micro_steps = work.batch, len(work.batch.tokens)
        fields = [torch.from_numpy(field) for field in (batch.tokens, batch.positions, batch.documents, batch.labels)]
        nats = torch.zeros((), dtype=torch.float64, device=self.device)
        torch.manual_seed(self._dropout_seed(work.step))
        for index in range(micro_steps):
            self._strategy.sync_gradients(self.decoder, enabled=index == micro_steps - 1)
            losses_BT = self.decoder(*(field[index].to(self.device, non_blocking=True) for field in fields))
            micro_nats = losses_BT.sum()
            (micro_nats * scale).backward()
            nats += micro_nats.detach()
        return nats

    def _dropout_seed(self, step: int) -> int:
        """Dropout masks are a function of (seed, step, rank), so that a resumed run draws the same ones."""
        return int(np.random.SeedSequence((self.recipe.run.seed, step, self.global_rank)).generate_state(1, np.uint64)[0] >> 1)

    def _clip(self) -> float:
        """Clips the gradient in place and returns its norm before that."""
        norm = clip_grad_norm_(self.decoder.parameters(), self.recipe.train.clip_norm or NO_CLIP)
        return float(norm.full_tensor() if isinstance(norm, DTensor) else norm)

    def _agree(self, nats: torch.Tensor, predicted: int) -> tuple[float, Stop]:
        """The step's loss over all ranks, and the strongest reason to stop: one all-reduce."""
        told = torch.tensor([float(self._signals.reason >= reason) for reason in (Stop.PREEMPTED, Stop.INTERRUPTED)], dtype=torch.float64)
        shared = torch.cat([nats.view(1), told.to(self.device)])
        dist.all_reduce(shared)
        total, preempted, interrupted = shared.tolist()
        return total / predicted, Stop.INTERRUPTED if interrupted else Stop.PREEMPTED if preempted else Stop.NO

    def _update(self, rate: float) -> None:
        optimizer = self.optimizers()
        assert not isinstance(optimizer, list)
        for group in optimizer.param_groups:
            group["lr"] = rate
        optimizer.step()
        optimizer.zero_grad()

    @property
    def _strategy(self) -> FsdpStrategy:
        strategy = self.trainer.strategy
        assert isinstance(strategy, FsdpStrategy)
        return strategy


def not_finite(step: int, loss: float, grad_norm: float) -> CheckpointError:
    """The error for a step whose loss or gradient is NaN or infinite; raised before the update, so that nothing bad is ever saved."""
    return CheckpointError(
        f"step {step}",
        f"loss {loss}, gradient norm {grad_norm}",
        "must be finite; the step was not applied and the last checkpoint is intact",
        "Lower optim.lr, or look at the data of this step",
    )
