"""What members share is looked at once, and each member's submission is the one that it would have by itself."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from command import write_domain
from runs import QUICK

from cpt.data import order, prepare
from cpt.submission import make_submission
from cpt.sweeps import preparing
from cpt.sweeps.preparing import Preparer

AXES = ("run.seed=1,2,3", "train.max_length=32,64", "train.global_batch_size=4,8", "optim.lr=1e-4,1e-3")


@pytest.fixture
def work(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often the dear work was done."""
    done: Counter[str] = Counter()

    def counted(module, name: str) -> None:
        real = getattr(module, name)
        monkeypatch.setattr(module, name, lambda *arguments, **named: done.update([name]) or real(*arguments, **named))

    counted(preparing, "check_recipe")
    counted(preparing, "resolve_base")
    counted(prepare, "resolve_tokenizer")
    counted(order, "pack")
    return done


def test_base_tokenizer_and_packing_are_found_once_for_each_distinct_input(opened, tmp_path: Path, monkeypatch, work) -> None:
    monkeypatch.chdir(tmp_path)
    write_domain(tmp_path)
    words = [word for word in QUICK if not word.startswith(("train.max_length", "train.global_batch_size"))]
    sweep, preparer = opened(*words, *AXES), Preparer()
    deliveries = [preparer.delivery(member) for member in sweep.members]
    assert len(deliveries) == 24
    assert work == {"check_recipe": 1, "resolve_base": 1, "resolve_tokenizer": 2, "pack": 2}
    for delivery, member in zip(deliveries, sweep.members, strict=True):
        alone = make_submission(member.composed.recipe)
        ours = delivery.submission
        assert (ours.identity, ours.plan.steps, ours.plan.steps_per_epoch) == (alone.identity, alone.plan.steps, alone.plan.steps_per_epoch)
        assert list(ours.prepared.plan.sequences_of_step(1)) == list(alone.prepared.plan.sequences_of_step(1))
