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

from cpt.data.batches import StepBatch
from cpt.errors import CheckpointError
from cpt.model.decoder import Decoder
from cpt.recipe.architecture import Architecture
from cpt.recipe.schedule import learning_rate
from cpt.recipe.schema import Recipe
from cpt.train.optim import make_optimizer
from cpt.train.strategy import FsdpStrategy

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
        stop: The signal that some rank has received, or 0.
    """

    number: int
    loss: float
    learning_rate: float
    grad_norm: float
    tokens: int
    seconds: float
    stop: int


class CptModule(pl.LightningModule):
    """A decoder and the recipe that trains it.

    Args:
        recipe: The recipe.
        architecture: The decoder's shape.
        total_steps: Steps of the whole run, which the learning-rate curve needs.
        load_weights: Called with this module once its decoder is sharded and has memory, to fill it.
        stop_signal: The signal this process has received so far, or 0.
    """

    def __init__(
        self,
        recipe: Recipe,
        architecture: Architecture,
        total_steps: int,
        load_weights: Callable[[CptModule], None],
        stop_signal: Callable[[], int],
    ) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.recipe, self.total_steps = recipe, total_steps
        self._load_weights, self._stop_signal = load_weights, stop_signal
        dropouts = (recipe.model.hidden_dropout, recipe.model.attention_dropout, recipe.model.ffn_dropout)
        with torch.device("meta"):
            self.decoder = Decoder(architecture, *dropouts)
        self.last: Step | None = None

    def configure_model(self) -> None:
        """Nothing: the strategy shards the decoder and gives it memory."""

    def configure_optimizers(self) -> Optimizer:
        """The recipe's optimizer."""
        return make_optimizer(self.decoder, self.recipe.optim)

    def load_weights(self) -> None:
        """Fills the sharded decoder."""
        self._load_weights(self)

    def transfer_batch_to_device(self, batch: StepBatch, device: torch.device, dataloader_idx: int) -> StepBatch:
        """Nothing: micro-batches move one by one."""
        return batch

    def training_step(self, batch: StepBatch, batch_idx: int) -> None:
        """Step k: all micro-batches of this rank, one gradient reduction, one update.

        The loss is the sum over the step's predicted tokens divided by their number over all ranks, which every rank knows from the data
        plan; FSDP averages gradients over ranks, hence the factor `world_size`.

        Raises:
            CheckpointError: The gradient is not finite; nothing was updated.
        """
        started = time.perf_counter()
        rate = learning_rate(self.recipe.sched, self.recipe.optim.lr, batch.step, self.total_steps)
        nats = self._backward(batch, scale=self.trainer.world_size / batch.predicted)
        grad_norm = self._clip()
        loss, stop = self._agree(nats, batch.predicted)
        if not math.isfinite(loss + grad_norm):
            raise not_finite(batch.step, loss, grad_norm)
        self._update(rate)
        self.last = Step(batch.step, loss, rate, grad_norm, batch.tokens_in_step, time.perf_counter() - started, stop)

    def _backward(self, batch: StepBatch, scale: float) -> torch.Tensor:
        """Gradients of this rank's share; returns its summed loss in nats."""
        strategy = self._strategy
        nats = torch.zeros((), device=self.device)
        last = len(batch.tokens) - 1
        torch.manual_seed(self._dropout_seed(batch.step))
        for index in range(last + 1):
            strategy.sync_gradients(self.decoder, enabled=index == last)
            losses_BT = self.decoder(*self._on_device(batch, index))
            micro_nats = losses_BT.sum()
            (micro_nats * scale).backward()
            nats += micro_nats.detach()
        return nats

    def _on_device(self, batch: StepBatch, index: int) -> tuple[torch.Tensor, ...]:
        fields = (batch.tokens, batch.positions, batch.documents, batch.labels)
        return tuple(torch.from_numpy(np.ascontiguousarray(field[index])).to(self.device, non_blocking=True) for field in fields)

    def _dropout_seed(self, step: int) -> int:
        """Dropout masks are a function of (seed, step, rank), so that a resumed run draws the same ones."""
        return int(np.random.SeedSequence((self.recipe.run.seed, step, self.global_rank)).generate_state(1, np.uint64)[0] >> 1)

    def _clip(self) -> float:
        """Clips the gradient in place and returns its norm before that."""
        norm = clip_grad_norm_(self.decoder.parameters(), self.recipe.train.clip_norm or NO_CLIP)
        return float(norm.full_tensor() if isinstance(norm, DTensor) else norm)

    def _agree(self, nats: torch.Tensor, predicted: int) -> tuple[float, int]:
        """The step's loss over all ranks, and the highest signal that any of them has received: one all-reduce."""
        signals = torch.zeros(64, dtype=torch.float64)
        signals[self._stop_signal()] = 1
        shared = torch.cat([nats.detach().double().cpu().view(1), signals]).to(self.device)
        dist.all_reduce(shared)
        raised = torch.nonzero(shared[2:]).flatten()
        return float(shared[0]) / predicted, int(raised.max()) + 1 if len(raised) else 0

    def _update(self, rate: float) -> None:
        optimizer = self.optimizers()
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
