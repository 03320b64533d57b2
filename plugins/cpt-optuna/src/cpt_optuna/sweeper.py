"""`sweeper=optuna`: a study rebuilt from the trials that it is shown, for every question anew."""

from __future__ import annotations

import hashlib
import itertools
import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Literal

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.pruners import BasePruner, MedianPruner, NopPruner, SuccessiveHalvingPruner
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from pydantic import Field
from typing_extensions import override

from cpt.contracts import Choices, Interval, Sweeper, Trial, TrialState
from cpt.recipe.frozen import Frozen

DIGITS, MOST_DIGITS = 4, 17
"""Significant digits of a number: the least, and the most where fewer do not tell a new member from those before it."""
ASKED, DRAWS_A_DIGIT = 10, 100
"""Proposals of the sampler that may repeat a member before one is drawn at random; draws before a digit more is used."""
_STATES = {
    TrialState.RUNNING: optuna.trial.TrialState.RUNNING,
    TrialState.COMPLETED: optuna.trial.TrialState.COMPLETE,
    TrialState.PRUNED: optuna.trial.TrialState.PRUNED,
    TrialState.FAILED: optuna.trial.TrialState.FAIL,
}


class OptunaOptions(Frozen):
    """`sweeper.options` of `sweeper=optuna`."""

    trials: int = Field(30, ge=1, le=10_000)
    """Members, or as many as the axes allow where that is fewer."""
    sampler: Literal["tpe", "random"] = "tpe"
    """`tpe`: tree-structured Parzen estimator over all axes together (Bergstra et al., 2011). `random`: evenly."""
    startup_trials: int = Field(10, ge=0)
    """Members drawn at random before `tpe` begins."""
    pruner: Literal["none", "median", "asha"] = "none"
    """Which members are ended early. `median`: one whose best is worse than the median of the others at the same step.
    `asha`: all but one in `reduction_factor` at each rung (Li et al., 2018)."""
    warmup_steps: int = Field(0, ge=0)
    """No member is ended before this step; the first rung of `asha`, 0: a hundredth of the longest member."""
    reduction_factor: int = Field(3, ge=2)
    """Rungs of `asha` are this factor apart, and one in so many members goes on from each."""


class OptunaSweeper(Sweeper):
    """Chooses members with Optuna, which keeps nothing between two questions: the study is made of the trials, its sampler seeded by how
    many there are.
    """

    Options = OptunaOptions
    takes_intervals = True

    @property
    @override
    def size(self) -> int:
        return int(min(self._options.trials, math.prod(map(_values, self.axes.values()))))

    @override
    def propose(self, trials: Sequence[Trial]) -> Mapping[str, str] | None:
        if len(trials) >= self.size:
            return None
        taken = {tuple(trial.values[key] for key in self.axes) for trial in trials}
        distributions = {key: _distribution(axis) for key, axis in self.axes.items()}
        with _quiet():
            study = self._study(trials)
            for asked in range(ASKED + DRAWS_A_DIGIT * (MOST_DIGITS - DIGITS + 1)):
                study.sampler = self._sampler(f"{self.seed}/{len(trials)}/{asked}", at_random=asked >= ASKED)
                digits = min(DIGITS + asked // DRAWS_A_DIGIT, MOST_DIGITS)
                drawn = study.ask(distributions).params
                values = {key: _text(drawn[key], axis, digits) for key, axis in self.axes.items()}
                if tuple(values.values()) not in taken:
                    return values
        return None  # bounds so close that all between them are taken

    @override
    def should_prune(self, trial: Trial, trials: Sequence[Trial]) -> bool:
        if self._options.pruner == "none" or not trial.reports:
            return False
        with _quiet():
            study = self._study(trials, asking=trial)
            number = next(number for number, other in enumerate(trials) if other.values == trial.values)
            return study.pruner.prune(study, study.get_trials(deepcopy=False)[number])

    @property
    def _options(self) -> OptunaOptions:
        assert isinstance(self.options, OptunaOptions)
        return self.options

    def _study(self, trials: Sequence[Trial], asking: Trial | None = None) -> optuna.Study:
        study = optuna.create_study(sampler=self._sampler("", at_random=True), pruner=self._pruner(trials))
        study.add_trials([self._frozen(trial, trials, asks=asking is not None and trial.values == asking.values) for trial in trials])
        return study

    def _frozen(self, trial: Trial, trials: Sequence[Trial], asks: bool) -> optuna.trial.FrozenTrial:
        without_value = trial.state is TrialState.COMPLETED and trial.value is None
        return optuna.trial.create_trial(
            state=optuna.trial.TrialState.FAIL if without_value else _STATES[trial.state],
            value=trial.value if trial.state is TrialState.COMPLETED else None,
            params={key: _value(trial.values[key], axis) for key, axis in self.axes.items()},
            distributions={key: _distribution(axis) for key, axis in self.axes.items()},
            intermediate_values=dict(trial.reports),
            system_attrs=dict(self._rungs(trial, trials, asks)),
        )

    def _rungs(self, trial: Trial, trials: Sequence[Trial], asks: bool) -> Iterator[tuple[str, float]]:
        """What `asha` has noted of a member at each rung: the first report there. The newest of the one that asks is still to be judged."""
        if self._options.pruner != "asha":
            return
        steps = sorted(trial.reports)[: -1 if asks else None]
        for number in itertools.count():
            rung = self._first_rung(trials) * self._options.reduction_factor**number
            if (reached := next((step for step in steps if step >= rung), None)) is None:
                return
            yield f"completed_rung_{number}", trial.reports[reached]

    def _first_rung(self, trials: Sequence[Trial]) -> int:
        longest = max((max(trial.reports) for trial in trials if trial.reports), default=0)
        return self._options.warmup_steps or max(1, longest // 100)

    def _sampler(self, seed: str, at_random: bool) -> BaseSampler:
        number = int.from_bytes(hashlib.sha256(seed.encode()).digest()[:4])
        if at_random or self._options.sampler == "random":
            return RandomSampler(seed=number)
        return TPESampler(seed=number, n_startup_trials=self._options.startup_trials, multivariate=True, constant_liar=True)

    def _pruner(self, trials: Sequence[Trial]) -> BasePruner:
        options = self._options
        if options.pruner == "median":
            return MedianPruner(n_warmup_steps=options.warmup_steps)
        if options.pruner == "asha":
            return SuccessiveHalvingPruner(min_resource=self._first_rung(trials), reduction_factor=options.reduction_factor)
        return NopPruner()


@contextmanager
def _quiet() -> Iterator[None]:
    """Without Optuna's own log lines, and its notices that what it has long offered is experimental."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            yield
    finally:
        optuna.logging.set_verbosity(before)


def _distribution(axis: Choices | Interval) -> BaseDistribution:
    if isinstance(axis, Choices):
        return CategoricalDistribution(axis.values)
    if axis.whole:
        return IntDistribution(int(axis.low), int(axis.high), log=axis.log)
    return FloatDistribution(axis.low, axis.high, log=axis.log)


def _value(text: str, axis: Choices | Interval) -> str | int | float:
    """A value as Optuna takes it."""
    if isinstance(axis, Choices):
        return text
    return int(text) if axis.whole else float(text)


def _text(value: str | int | float, axis: Choices | Interval, digits: int) -> str:
    """A value as it is typed."""
    if not isinstance(value, float) or isinstance(axis, Choices):
        return str(value)
    text = f"{value:.{digits}g}"
    return text if axis.low <= float(text) <= axis.high else repr(value)


def _values(axis: Choices | Interval) -> float:
    """How many values an axis has."""
    if isinstance(axis, Choices):
        return len(axis.values)
    if axis.low == axis.high:
        return 1
    return int(axis.high) - int(axis.low) + 1 if axis.whole else math.inf
