"""What a sweeper promises."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import ClassVar

import pytest

from cpt.contracts import Choices, Interval, Sweeper, Trial, TrialState
from cpt.testing.plugin import PluginContract, where

Axes = Mapping[str, Choices | Interval]
LONGEST = 200
"""Members after which the suite stops a sweep that does not end."""


class SweeperContract(PluginContract):
    """Give `plugin`, and `options` that ask for two to twelve members where its size is an option."""

    contract = Sweeper
    choices: ClassVar[Axes] = {"optim.lr": Choices(("1e-5", "3e-5", "1e-4", "3e-4")), "model.hidden_dropout": Choices(("0", "0.1", "0.2"))}
    """Axes of values."""
    intervals: ClassVar[Axes] = {
        "optim.lr": Interval(1e-6, 1e-3, log=True),
        "model.hidden_dropout": Interval(0.0, 0.5),
        "sched.warmup_steps": Interval(2, 9, whole=True),
        "optim.name": Choices(("adamw", "distributed_fused_adam")),
    }
    """Axes with intervals, for sweepers that take them."""

    def make(self, axes: Axes | None = None, seed: int = 7) -> Sweeper:
        """A new instance."""
        return self.plugin(self.make_options(), self.choices if axes is None else axes, seed)  # type: ignore[no-any-return]

    def test_it_ends_once_there_are_as_many_trials_as_its_size(self) -> None:
        trials = self._sweep(self.choices)
        assert self.make().size == len(trials) > 0
        assert self.make().propose(trials) is None

    def test_each_proposal_has_a_value_on_every_axis(self) -> None:
        for trial in self._sweep(self.choices):
            assert _misplaced(trial.values, self.choices) == {}

    @where(lambda suite: suite.plugin.takes_intervals)
    def test_intervals_are_honoured(self) -> None:
        for trial in self._sweep(self.intervals):
            assert _misplaced(trial.values, self.intervals) == {}

    def test_a_proposal_is_a_function_of_the_trials(self) -> None:
        """A sweep that was killed goes on as if it had not been: another process proposes the same, however often it is asked."""
        trials, sweeper = self._sweep(self.choices), self.make()
        for number, trial in enumerate(trials):
            assert sweeper.propose(trials[:number]) == trial.values
            assert sweeper.propose(trials[:number]) == trial.values
            assert self.make().propose(trials[:number]) == trial.values

    @where(lambda suite: not suite.plugin.looks_at_results)
    def test_it_looks_at_results_or_says_that_it_does_not(self) -> None:
        """Members of a sweep that looks at none are all composed before the first one starts."""
        trials = self._sweep(self.choices)
        better = [replace(trial, value=1.0 / (number + 1), reports={}) for number, trial in enumerate(trials)]
        for number, trial in enumerate(trials):
            assert self.make().propose(better[:number]) == trial.values

    def test_no_trial_is_proposed_again(self) -> None:
        """Members are named by their values: two with the same would be one."""
        proposed = [tuple(trial.values.items()) for trial in self._sweep(self.choices)]
        assert len(set(proposed)) == len(proposed)

    @pytest.mark.parametrize("state", [TrialState.RUNNING, TrialState.FAILED, TrialState.PRUNED])
    def test_trials_without_a_result_are_counted_too(self, state: TrialState) -> None:
        """Members run side by side, fail and are pruned: none is proposed twice, none stops the sweep."""
        trials: list[Trial] = []
        for _ in range(self.make().size):
            values = self.make().propose(trials)
            assert values is not None, trials
            assert values not in [trial.values for trial in trials]
            trials.append(Trial(values, state, reports={1: 3.0} if state is TrialState.PRUNED else {}))

    def test_whether_to_prune_is_yes_or_no(self) -> None:
        *finished, last = self._sweep(self.choices)
        for reports in ({}, {1: 4.0}, {1: 4.0, 2: 9.0}, {1: 1.0, 2: 0.5}):
            running = replace(last, state=TrialState.RUNNING, value=None, reports=reports)
            answers = {self.make().should_prune(running, [*finished, running]) for _ in range(2)}
            assert answers in ({True}, {False})

    def test_the_first_of_all_is_not_pruned(self) -> None:
        values = self.make().propose([])
        assert values is not None
        alone = Trial(values, reports=dict.fromkeys(range(1, 20), 9.0))
        assert self.make().should_prune(alone, [alone]) is False

    def _sweep(self, axes: Axes) -> list[Trial]:
        """All trials of a sweep whose members complete one after another."""
        trials: list[Trial] = []
        sweeper = self.make(axes)
        while (values := sweeper.propose(tuple(trials))) is not None:
            assert len(trials) < LONGEST, "the sweep does not end"
            loss = 2.0 + len(trials) % 3
            trials.append(Trial(dict(values), TrialState.COMPLETED, loss, {1: loss + 1, 2: loss}))
        return trials


def _misplaced(values: Mapping[str, str], axes: Axes) -> dict[str, object]:
    """What of `values` lies on no axis, and the axes that have no value."""
    absent: dict[str, object] = dict.fromkeys(axes.keys() ^ values.keys())
    return absent | {key: values[key] for key in axes.keys() & values.keys() if not _lies_on(values[key], axes[key])}


def _lies_on(value: object, axis: Choices | Interval) -> bool:
    if not isinstance(value, str):
        return False
    if isinstance(axis, Choices):
        return value in axis.values
    try:
        return axis.low <= (int(value) if axis.whole else float(value)) <= axis.high
    except ValueError:
        return False
