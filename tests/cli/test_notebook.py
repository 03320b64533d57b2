"""`import cpt` offers the verbs of the command line."""

from __future__ import annotations

import cpt


def test_the_verbs_are_listed_for_completion() -> None:
    assert {"compose", "train", "validate", "prepare", "evaluate", "generate", "export", "plan"} <= set(dir(cpt))


def test_one_override_needs_no_list() -> None:
    assert cpt.compose("optim.lr=2e-5") == cpt.compose(["optim.lr=2e-5"])
