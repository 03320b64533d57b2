"""What happens between optimizer steps, in this order: validate, record, save, stop."""

from __future__ import annotations

from collections.abc import Callable

import lightning.pytorch as pl
from typing_extensions import override

from cpt.training.module import CptModule, Step
from cpt.training.position import Losses, Position
from cpt.training.record import Recorder
from cpt.training.save import Saver
from cpt.training.signals import Stop, StopSignals


class Bookkeeper(pl.Callback):
    """The one callback of a run.

    Args:
        position: Where the run stands; moved on with every step.
        validate: Measures all validation sets, on every rank.
        recorder: Metrics, display and samples; acts on rank 0 alone.
        saver: Checkpoints and the final model.
        signals: What this process was told.
    """

    def __init__(
        self, position: Position, validate: Callable[[CptModule], Losses], recorder: Recorder, saver: Saver, signals: StopSignals
    ) -> None:
        self.position, self.validate, self.recorder, self.saver, self.signals = position, validate, recorder, saver, signals
        self.stopped = Stop.NO

    @override
    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Row 0: the base model on the validation sets, and the text it writes."""
        assert isinstance(pl_module, CptModule)
        self.signals.install()
        if self.position.step == 0:
            self.recorder.say("validating the base before the first step")
            self.position.before = self.validate(pl_module)
            self.recorder.row(0, self.position.before)
            self.recorder.sample(0, "before", pl_module)
            self.recorder.show_before(self.position.before)

    @override
    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: object, batch: object, batch_idx: int
    ) -> None:
        """One optimizer step is done."""
        assert isinstance(pl_module, CptModule)
        assert pl_module.last is not None
        self._after(pl_module, pl_module.last)

    def _after(self, module: CptModule, step: Step) -> None:
        self.position.step, self.position.tokens = step.number, self.position.tokens + step.tokens
        ends = step.number == module.total_steps
        losses = self.validate(module) if ends or _due(step.number, module.recipe.train.validate_every) else {}
        if losses or ends or _due(step.number, module.recipe.train.log_every):
            self.recorder.row(step.number, losses, step, self.position.tokens)
        self.recorder.show(step, losses)
        if ends:
            self.recorder.sample(step.number, "after", module)
            self.recorder.figures(step.number, self.position.before, losses)
            self.recorder.flush()
            self.saver.finish(module, self.position, losses)
        elif step.stop or _due(step.number, module.recipe.checkpoint.every):
            self.recorder.flush()
            self.saver.checkpoint(module, self.position, losses, stop=step.stop)
        if step.stop and not ends:
            self.stopped = step.stop
            module.trainer.should_stop = True


def _due(step: int, every: int | None) -> bool:
    return every is not None and step % every == 0
