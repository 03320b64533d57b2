"""An examination of this machine for a recipe: what is here, how fast it is, and what would work. Nothing of it stays."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from cpt.doctor.answers import QUESTIONS, Question
from cpt.doctor.finding import Answer, Check, Finding, Level, Report
from cpt.doctor.machine import accelerators, memory, system
from cpt.doctor.packages import packages, plugin_packages
from cpt.doctor.places import lock, output, store
from cpt.doctor.s3 import s3
from cpt.doctor.speed import speed
from cpt.doctor.trial import tried
from cpt.recipe.schema import Recipe

__all__ = ["CHECKS", "QUESTIONS", "Answer", "Finding", "Level", "Report", "examine"]

CHECKS: dict[str, tuple[Check, float]] = {
    "machine": (system, 5.0),
    "memory": (memory, 5.0),
    "GPUs": (accelerators, 15.0),
    "packages": (packages, 10.0),
    "plugins": (plugin_packages, 10.0),
    "S3": (s3, 15.0),
    "run.output": (output, 15.0),
    "data.store": (store, 15.0),
    "lease": (lock, 15.0),
    "products": (speed, 120.0),
}
"""By the subject that a failure is reported under: the check, and the seconds that it has."""
QUESTION_S = 30.0


def silent(subject: str) -> None:
    """No progress."""


def examine(
    recipe: Recipe,
    checks: Mapping[str, tuple[Check, float]] = CHECKS,
    questions: Mapping[str, Question] = QUESTIONS,
    progress: Callable[[str], None] = silent,
) -> Report:
    """Looks at everything that `recipe` needs; what fails or hangs is reported, and the rest goes on.

    Args:
        recipe: From `cpt.compose`.
        checks: What is looked at.
        questions: What is answered from it.
        progress: Told of each subject before it is looked at.
    """
    findings: list[Finding] = []
    for subject, (check, timeout_s) in checks.items():
        progress(subject)
        found, faults = tried(lambda check=check: check(recipe), timeout_s)  # type: ignore[misc]
        findings += [*found, *(Finding.of_fault(subject, fault) for fault in faults)]
    answers: list[Answer] = []
    for what, question in questions.items():
        progress(what)
        given, faults = tried(lambda question=question: question(recipe, findings), QUESTION_S)  # type: ignore[misc]
        answers += [*given, *(Answer(what, False, str(fault)) for fault in faults)]
    return Report(findings, answers)
