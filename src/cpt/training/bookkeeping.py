"""What happens between optimizer steps, in this order: validate, record, save, stop."""

from __future__ import annotations

from collections.abc import Callable

import lightning.pytorch as pl

from cpt.recipe.schema import Recipe
from cpt.training.module import CptModule, Step
from cpt.training.position import Losses, Position
from cpt.training.record import Recorder
from cpt.training.save import Saver
from cpt.training.signals import Stop, StopSignals

class Bookkeeper(pl.Callback):
    """The one callback of a run.

    Args:
        recipe: The recipe.
        total_steps: Steps of the whole run.
        position: Where the run stands; moved on with every step.
        validate: Measures all validation sets, on every rank.
        recorder: Metrics, display and samples; acts on rank 0 alone.
        saver: Checkpoints and the final model.
        signals: What this process was told.
    """

    def __init__(
        self,
        recipe: Recipe,
        total_steps: int,
        position: Position,
        validate: Callable[[CptModule], Losses],
        recorder: Recorder,
        saver: Saver,
        signals: StopSignals,
    ) -> None:
        self.recipe, self.total_steps, self.position = recipe, total_steps, position
        self.validate, self.recorder, self.saver, self.signals = validate, recorder, saver, signals
        self.stopped = Stop.NO

    def on_train_start(self, trainer: pl.Trainer, module: CptModule) -> None:
        """Row 0: the base model on the validation sets, and the text it writes."""
        self.signals.install()
        if self.position.step == 0:
            self.position.before = self.validate(module)
            self.recorder.row(0, self.position.before)
            self.recorder.sample(0, "before", module)

    def on_train_batch_end(self, trainer: pl.Trainer, module: CptModule, outputs: object, batch: object, batch_idx: int) -> None:
        """One optimizer step is done."""
        step = module.last
        assert step is not None
        self.position.step, self.position.tokens = step.number, self.position.tokens + step.tokens
        ends = step.number == self.total_steps
        losses = self.validate(module) if ends or _due(step.number, self.recipe.train.validate_every) else {}
        if losses or ends or _due(step.number, self.recipe.train.log_every):
            self.recorder.row(step.number, losses, step, self.position.tokens)
        self.recorder.show(step, losses)
        self._save(module, step, losses, ends)

    def _save(self, module: CptModule, step: Step, losses: Losses, ends: bool) -> None:
        if ends:
            self.recorder.sample(step.number, "after", module)
            self.saver.finish(module, self.position, losses)
        elif step.stop or _due(step.number, self.recipe.checkpoint.every):
            self.saver.checkpoint(module, self.position, losses, stop=step.stop)
        if step.stop and not ends:
            self.stopped = step.stop
            module.trainer.should_stop = True


def _due(step: int, every: int | None) -> bool:
    return every is not None and step % every == 0
