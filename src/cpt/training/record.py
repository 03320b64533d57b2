"""Metrics, text samples and the live line of a run. Rank 0 writes; every rank calls, because a sample needs all of them."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

from cpt.console import StatusLine, duration, quantity
from cpt.data.tokenizer import TextTokenizer
from cpt.evaluation.compare import change_figure
from cpt.log import Loggers
from cpt.model.generate import generate
from cpt.rundir import RunDirectory
from cpt.training.module import CptModule, Step
from cpt.training.position import Losses


@dataclass
class Recorder:
    """Where a run's numbers and texts go.

    Args:
        run: The run's directory.
        loggers: The recipe's loggers.
        rank: Only rank 0 writes.
        total_steps: For the live line.
        tokenizer: For the samples.
        prompt: Token ids that the samples continue.
        sample_tokens: Tokens of a sample; 0 for none.
    """

    run: RunDirectory
    loggers: Loggers
    rank: int
    total_steps: int
    tokenizer: TextTokenizer
    prompt: list[int]
    sample_tokens: int
    _line: StatusLine = field(default_factory=StatusLine)
    _latest: dict[str, float] = field(default_factory=dict)
    _seconds_per_step: float | None = None

    def row(self, number: int, losses: Losses, step: Step | None = None, tokens: int = 0) -> None:
        """One row of metrics: the step's numbers, and the validation's if there was one."""
        if self.rank != 0:
            return
        values = {f"validation/{name}/loss": losses_of_set.loss for name, losses_of_set in losses.items()}
        if step is not None:
            values = _train_values(step, tokens) | values
        self.run.metrics.append(number, values)
        self.loggers.metrics(number, values)

    def sample(self, number: int, name: str, module: CptModule) -> None:
        """Lets the model continue the prompt, greedily, and keeps the text."""
        if self.sample_tokens == 0:
            return
        ids = generate(module.decoder, self.prompt, self.sample_tokens, eos_id=self.tokenizer.eos_id)
        if self.rank != 0:
            return
        sample = {"step": number, "name": name, "prompt": self.tokenizer.decode(self.prompt), "text": self.tokenizer.decode(ids)}
        with self.run.samples_path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(sample, ensure_ascii=False) + "\n")
        self.loggers.text(number, f"sample/{name}", f"{sample['prompt']}{sample['text']}")

    def figures(self, number: int, before: Losses, after: Losses) -> None:
        """What the run did to the documents of each validation set."""
        if self.rank == 0:
            for name, losses in after.items():
                self.loggers.figure(number, f"figure/{name}/change", change_figure(name, before[name], losses))

    def flush(self) -> None:
        """Lets the loggers write down what they have: a checkpoint is about to be committed."""
        self.loggers.flush()

    def say(self, text: str) -> None:
        """What goes on now, on the live line."""
        if self.rank == 0:
            self._line.update(text)

    def show_before(self, losses: Losses) -> None:
        """The validation before the first step, on a line of its own."""
        if self.rank == 0:
            self._line.line(f"step    0/{self.total_steps}" + _listed({name: value.loss for name, value in losses.items()}))

    def show(self, step: Step, losses: Losses) -> None:
        """The live line; a validation stays on a line of its own."""
        if self.rank != 0:
            return
        self._latest |= {name: losses_of_set.loss for name, losses_of_set in losses.items()}
        known = self._seconds_per_step
        self._seconds_per_step = step.seconds if known is None else 0.9 * known + 0.1 * step.seconds
        eta = duration((self.total_steps - step.number) * self._seconds_per_step)
        speed = f"{quantity(step.tokens / step.seconds)} tok/s"
        text = f"step {step.number:>4}/{self.total_steps}  loss {step.loss:.3f}  lr {step.learning_rate:.1e}  {speed}  eta {eta}"
        text += _listed(self._latest)
        (self._line.line if losses else self._line.update)(text)

    def close(self) -> None:
        """Takes the live line away and flushes the loggers."""
        self._line.clear()
        self.loggers.close()


def _listed(losses: dict[str, float]) -> str:
    return "".join(f"  {name} {loss:.3f}" for name, loss in losses.items())


def _train_values(step: Step, tokens: int) -> dict[str, float]:
    return {
        "train/loss": step.loss,
        "train/lr": step.learning_rate,
        "train/grad_norm": step.grad_norm,
        "train/tokens": tokens,
        "train/tokens_per_second": step.tokens / step.seconds,
    }
