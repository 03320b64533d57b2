"""A sweep: its sweeper, its folder, its members; made from a command, found again on disk."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from cpt import plugins, storage
from cpt.composition import OF_THE_WHOLE_SWEEP, Composed, SweptRecipe
from cpt.contracts import Choices, Interval, Sweeper, Trial
from cpt.errors import Fault, RecipeError, StorageError
from cpt.overrides import interval_fault
from cpt.rundir import RunDirectory
from cpt.sweeps.journal import Drawn, Journal
from cpt.sweeps.members import AT_ONCE, Member, MemberState, label

NOT_IN_DEFINITION = (
    *OF_THE_WHOLE_SWEEP, "logger", "cluster", "parallel", "checkpoint", "eval", "data.store",
    "train.max_steps", "train.max_epochs", "train.log_every", "train.validate_every",
)  # fmt: skip
"""Groups and keys whose change leaves what was drawn comparable."""


@dataclass
class Sweep:
    """Many runs that differ on axes.

    Args:
        swept: The recipes.
        sweeper: Chooses among them.
        output: Folder or URL that holds the sweep's folder.
        name: That folder's name.
        journal: What was drawn; None where the axes say it all.
        members: In the order they were proposed.
    """

    swept: SweptRecipe
    sweeper: Sweeper
    output: str
    name: str
    journal: Journal | None
    members: list[Member] = field(default_factory=list)
    _labels: set[str] = field(default_factory=set)

    @classmethod
    def open(cls, swept: SweptRecipe) -> Sweep:
        """The sweep that `swept` spans: of a sweeper that looks at results, the members drawn so far; else all. Nothing is written.

        Raises:
            RecipeError: Every fault of every member that is known; a sweep with another definition.
            PluginError: The sweeper cannot be had, or refuses its options.
        """
        sweeper = _sweeper(swept)
        recipe = _checked(swept, all_values=sweeper.looks_at_results).recipe
        name = recipe.run.name or f"{recipe.model.name.replace('_', '-')}-sweep"
        location = RunDirectory(recipe.run.output, name).location
        drawn = sweeper.takes_intervals or sweeper.looks_at_results
        sweep = cls(swept, sweeper, recipe.run.output, name, Journal.open(location, _definition(swept)) if drawn else None)
        for entry in sweep.journal.members if sweep.journal else ():
            member = sweep._add(entry.values, entry.label)
            if entry.pruned and member.composed:
                member.state = MemberState.PRUNED
        if not sweeper.looks_at_results:
            sweep.list_all()
        return sweep

    @property
    def location(self) -> str:
        """The sweep's folder or URL."""
        return storage.join(self.output, self.name)

    @property
    def metric(self) -> str | None:
        """What members are compared by; None until one has a validation loss."""
        found = (member.record.first_metric() for member in self.members)
        return self.swept.settings.metric or next(filter(None, found), None)

    @property
    def size(self) -> int:
        """Members of the whole sweep."""
        return max(self.sweeper.size, len(self.members))

    def trials(self) -> list[Trial]:
        """What the sweeper is shown."""
        metric = self.metric
        return [member.trial(metric) for member in self.members]

    def propose(self) -> Member | None:
        """The next member, entered in the journal; None where there is none."""
        values = self.sweeper.propose(self.trials())
        if values is None:
            return None
        member = self._add(values)
        self.keep()
        return member

    def prune(self, member: Member) -> None:
        """Notes that `member` is given up."""
        assert self.journal is not None
        self.journal.members[self.members.index(member)].pruned = True
        self.journal.write()

    def keep(self) -> None:
        """Enters in the journal what was drawn."""
        if self.journal is not None and len(self.members) > len(self.journal.members):
            new = self.members[len(self.journal.members) :]
            self.journal.members += [Drawn(member.label, dict(member.values)) for member in new]
            self.journal.write()

    def list_all(self) -> None:
        """Adds all members that are still to come, as if none had a result; written down is none.

        Raises:
            RecipeError: Every fault of every member.
        """
        trials = [Trial(member.values) for member in self.members]
        while (values := self.sweeper.propose(trials)) is not None:
            self._add(values)
            trials.append(Trial(values))
        if faults := dict.fromkeys(fault for member in self.members for fault in member.faults):
            raise RecipeError.of(faults)

    def read(self) -> None:
        """Finds on disk which members are done, and how far the others came.

        Raises:
            StorageError: Another process has gone on with the sweep since it was opened.
        """
        if self.journal is not None and self.journal != Journal.open(self.journal.location, self.journal.definition):
            raise StorageError(self.location, "", "another process has gone on with this sweep meanwhile", "Type the same command again")
        there = set(storage.list_names(self.location))
        begun = [member for member in self.members if member.label in there]
        with ThreadPoolExecutor(AT_ONCE) as pool:
            list(pool.map(Member.read, begun))

    def _add(self, values: Mapping[str, str], name: str | None = None) -> Member:
        name = name or label(self._shown(values), self._labels)
        member = Member(name, dict(values), RunDirectory(self.output, f"{self.name}/{name}"))
        try:
            member.composed = self.swept.compose(values)
        except RecipeError as error:
            member.fail(error)
        self._labels.add(name)
        self.members.append(member)
        return member

    def _shown(self, values: Mapping[str, str]) -> Iterable[str]:
        """The overrides that a member is named by: those that vary, or, in a sweep of one, all."""
        varying = [f"{key}={value}" for key, value in values.items()]
        return varying or [word for word in self.swept.fixed if not _is_within(word, OF_THE_WHOLE_SWEEP)]


def _sweeper(swept: SweptRecipe) -> Sweeper:
    settings = swept.settings
    found, options = plugins.load("sweepers", settings.name, settings.options, "sweeper.name")
    intervals = [key for key, axis in swept.axes.items() if isinstance(axis, Interval)]
    if intervals and not found.takes_intervals:
        raise RecipeError.of(interval_fault(key, f"{key}={swept.typed[key]}") for key in intervals)
    sweeper: Sweeper = found(options, swept.axes, settings.seed)
    return sweeper


def _checked(swept: SweptRecipe, all_values: bool) -> Composed:
    """The sweep's first recipe.

    Raises:
        RecipeError: Its faults, and (with `all_values`, also where it has none) those of each other value of each axis.
    """
    faults: dict[Fault, None] = {}
    for values in _samples(swept):
        try:
            composed = swept.compose(values)
        except RecipeError as error:
            faults.update(dict.fromkeys(error.faults))
        else:
            if not (all_values or faults):
                return composed
    if faults:
        raise RecipeError.of(faults)
    return swept.compose(swept.first)


def _samples(swept: SweptRecipe) -> Iterator[dict[str, str]]:
    yield swept.first
    for key, axis in swept.axes.items():
        others = axis.values[1:] if isinstance(axis, Choices) else (str(axis.high),)
        yield from (swept.first | {key: value} for value in others)


def _definition(swept: SweptRecipe) -> dict[str, Any]:
    """What draws depend on, and what makes their results comparable."""
    settings = swept.settings
    fixed = dict(word.partition("=")[::2] for word in swept.fixed if not _is_within(word, NOT_IN_DEFINITION))
    sweeper = {"name": settings.name, "seed": settings.seed, "metric": settings.metric}
    return {"sweeper": sweeper, "axes": swept.typed, "recipe": fixed}


def _is_within(word: str, places: Iterable[str]) -> bool:
    """Whether an override chooses or changes something in one of `places`: groups and keys."""
    key = word.lstrip("+~").partition("=")[0]
    return any(f"{key}.".startswith(f"{place}.") for place in places)
