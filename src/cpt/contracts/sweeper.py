"""What a sweeper must offer: the next member of a sweep, as a function of those before it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from pydantic import BaseModel

from cpt.contracts.options import NoOptions


@dataclass(frozen=True)
class Choices:
    """An axis of values.

    Args:
        values: As typed after `key=`, each fit for an override.
    """

    values: tuple[str, ...]


@dataclass(frozen=True)
class Interval:
    """An axis of numbers between two bounds, both included.

    Args:
        low: The lower bound.
        high: The upper bound.
        log: Whether equal ratios are equally likely, rather than equal differences.
        whole: Whether only whole numbers are meant.
    """

    low: float
    high: float
    log: bool = False
    whole: bool = False


class TrialState(StrEnum):
    """How a member fares."""

    RUNNING = "running"
    COMPLETED = "completed"
    PRUNED = "pruned"
    FAILED = "failed"


@dataclass(frozen=True)
class Trial:
    """A member and what is known of it.

    Args:
        values: The member's value on each axis, by key, as typed after `key=`.
        state: How it fares.
        value: The metric at its end; None before, and where it failed.
        reports: The metric by optimizer step, so far.
    """

    values: Mapping[str, str]
    state: TrialState = TrialState.RUNNING
    value: float | None = None
    reports: Mapping[int, float] = field(default_factory=dict)


class Sweeper(ABC):
    """Chooses the members of a sweep. It remembers nothing: what it answers is a function of its arguments and of the trials it is shown,
    so that a sweep that was killed goes on as if it had not been. The metric is a loss: lower is better.

    Args:
        options: The recipe's `sweeper.options`, validated by `Options`.
        axes: What varies, by key, in the order typed.
        seed: Decides what is drawn.
    """

    Options: type[BaseModel] = NoOptions
    takes_intervals: bool = False
    """Whether an axis may be an `Interval`."""
    looks_at_results: bool = True
    """Whether what is proposed depends on how earlier members fared. Where it does not, all members are known, and composed, before the
    first one starts."""

    def __init__(self, options: BaseModel, axes: Mapping[str, Choices | Interval], seed: int) -> None:
        self.options, self.axes, self.seed = options, axes, seed

    @property
    @abstractmethod
    def size(self) -> int:
        """Members of the whole sweep."""

    @abstractmethod
    def propose(self, trials: Sequence[Trial]) -> Mapping[str, str] | None:
        """The next member's value on each axis; None once there are `size` trials.

        Args:
            trials: All so far, those that run included, in the order they were proposed.
        """

    def should_prune(self, trial: Trial, trials: Sequence[Trial]) -> bool:  # noqa: ARG002  only some sweepers prune
        """Whether `trial`, which is running, is not worth its end.

        Args:
            trial: One of `trials`.
            trials: All so far.
        """
        return False
