"""A sweeper that keeps its contract, and some that do not: each with one defect, and the test that must catch it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product

from cpt.contracts import Choices, Interval, Sweeper, Trial, TrialState
from cpt.testing import SweeperContract


class Good(Sweeper):
    """The grid, an interval cut at three points."""

    caught_by = ""
    takes_intervals = True

    @property
    def size(self) -> int:
        return len(self.members()) - 2

    def propose(self, trials: Sequence[Trial]) -> Mapping[str, str] | None:
        return self.members()[len(trials)] if len(trials) < self.size else None

    def members(self) -> list[dict[str, str]]:
        return [dict(zip(self.axes, values, strict=True)) for values in product(*map(self.points, self.axes.values()))]

    def points(self, axis: Choices | Interval) -> Sequence[str]:
        if isinstance(axis, Choices):
            return axis.values
        middle = (axis.low + axis.high) / 2
        return [repr(int(point) if axis.whole else point) for point in (axis.low, middle, axis.high)]


class OneMore(Good):
    caught_by = "test_it_ends_once_there_are_as_many_trials_as_its_size"

    def propose(self, trials: Sequence[Trial]) -> Mapping[str, str] | None:
        return self.members()[len(trials)] if len(trials) <= self.size else None


class AsNumbers(Good):
    caught_by = "test_each_proposal_has_a_value_on_every_axis"

    def points(self, axis: Choices | Interval) -> Sequence[str]:
        points = Good.points(self, axis)
        return [repr(float(point)) for point in points] if points[0][:1].isdecimal() and isinstance(axis, Choices) else points


class Beyond(Good):
    caught_by = "test_intervals_are_honoured"

    def points(self, axis: Choices | Interval) -> Sequence[str]:
        return Good.points(self, Interval(axis.low, axis.high * 1.5)) if isinstance(axis, Interval) else axis.values


class Counting(Good):
    caught_by = "test_a_proposal_is_a_function_of_the_trials"
    asked = 0

    def propose(self, trials: Sequence[Trial]) -> Mapping[str, str] | None:
        self.asked = max(len(trials), self.asked) + 1
        return self.members()[self.asked - 1] if self.asked <= self.size else None


class LooksAfterAll(Good):
    caught_by = "test_it_looks_at_results_or_says_that_it_does_not"
    looks_at_results = False

    def propose(self, trials: Sequence[Trial]) -> Mapping[str, str] | None:
        members = self.members()[: self.size]
        if trials and trials[0].value is not None and trials[0].value < 2:
            members = members[:1] + members[:0:-1]
        return members[len(trials)] if len(trials) < self.size else None


class BestAgain(Good):
    caught_by = "test_no_trial_is_proposed_again"

    def propose(self, trials: Sequence[Trial]) -> Mapping[str, str] | None:
        best = sorted((trial for trial in trials if trial.value is not None), key=lambda trial: trial.value or 0.0)
        return best[0].values if len(trials) == self.size - 1 and best else Good.propose(self, trials)


class CompletedOnly(Good):
    caught_by = "test_trials_without_a_result_are_counted_too"

    def propose(self, trials: Sequence[Trial]) -> Mapping[str, str] | None:
        return Good.propose(self, [trial for trial in trials if trial.state is TrialState.COMPLETED])


class Undecided(Good):
    caught_by = "test_whether_to_prune_is_yes_or_no"

    def should_prune(self, trial: Trial, trials: Sequence[Trial]) -> bool:
        return None if not trial.reports else False  # type: ignore[return-value]


class Impatient(Good):
    caught_by = "test_the_first_of_all_is_not_pruned"

    def should_prune(self, trial: Trial, trials: Sequence[Trial]) -> bool:
        return max(trial.reports.values(), default=0.0) > 8


class Suite(SweeperContract):
    plugin = Good
