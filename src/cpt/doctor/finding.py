"""What an examination finds: facts with a level, and answers to what would work. Plain data, for a person and for a program."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

from cpt.errors import EXIT_DONE, EXIT_USER, Fault, one_line
from cpt.recipe.schema import Recipe


class Level(StrEnum):
    """How good what was found is."""

    OK = "ok"
    WARNING = "warning"
    """Works, with a drawback that is named."""
    PROBLEM = "problem"
    """Keeps something that the recipe needs from working."""


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Args:
        subject: What, in a word or two.
        text: What was found, on one line.
        level: How good it is.
        cure: What to do about it; empty where nothing need be done.
        figures: The numbers behind `text`, their units in their names.
    """

    subject: str
    text: str
    level: Level = Level.OK
    cure: str = ""
    figures: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of_fault(cls, subject: str, fault: Fault) -> Finding:
        """A problem, in the words of the fault."""
        return cls(subject, str(Fault(fault.where, fault.value, fault.rule)).rstrip("."), Level.PROBLEM, fault.cure)

    def line(self, width: int) -> str:
        """For a person; `width` is that of the longest subject."""
        fault = Fault("", "", one_line(self.text, 400), self.cure)  # its way of joining a rule and a cure
        return f"{self.level:<8} {self.subject:<{width}}  {str(fault) if self.cure else one_line(self.text, 400)}"


@dataclass(frozen=True)
class Answer:
    """Whether something would work here.

    Args:
        what: What would.
        works: Whether it would; None where that was not tried.
        why: In a few words.
    """

    what: str
    works: bool | None
    why: str

    def line(self, width: int) -> str:
        """For a person; `width` is that of the longest `what`."""
        word = {True: "yes", False: "no", None: "unknown"}[self.works]
        return f"{word:<8} {self.what:<{width}}  {one_line(self.why, 400)}"


Check = Callable[[Recipe], Iterable[Finding]]
"""Looks at one thing for a recipe. What it raises is a problem too."""


@dataclass(frozen=True)
class Report:
    """An examination.

    Args:
        findings: In the order they were found.
        answers: What would and would not work.
    """

    findings: Sequence[Finding]
    answers: Sequence[Answer]

    @property
    def exit_code(self) -> int:
        """2 where there is a problem."""
        return EXIT_USER if any(finding.level is Level.PROBLEM for finding in self.findings) else EXIT_DONE

    def lines(self) -> list[str]:
        """For a person."""
        width = max(len(found) for found in (*(finding.subject for finding in self.findings), *(answer.what for answer in self.answers)))
        found, given = ((item.line(width) for item in items) for items in (self.findings, self.answers))
        return [*found, "", "What would work", *given]

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return {"findings": [asdict(finding) for finding in self.findings], "answers": [asdict(answer) for answer in self.answers]}
