"""It finds what it looks for, and ends what is not worth its end; as Optuna itself would, and the same in another process."""

from __future__ import annotations

import json
import math
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence

import optuna
import pytest

from cpt.contracts import Choices, Interval, Trial, TrialState
from cpt_optuna import OptunaOptions, OptunaSweeper

AXES: Mapping[str, Choices | Interval] = {"optim.lr": Interval(1e-6, 1e-1, log=True), "model.hidden_dropout": Interval(0.0, 1.0)}


def loss(values: Mapping[str, str]) -> float:
    """A bowl with its bottom, 0, at lr 3e-4 and dropout 0.2."""
    return (math.log10(float(values["optim.lr"])) - math.log10(3e-4)) ** 2 + 4 * (float(values["model.hidden_dropout"]) - 0.2) ** 2


def sweep(seed: int, **options: object) -> list[Trial]:
    sweeper = OptunaSweeper(OptunaOptions.model_validate(options), AXES, seed)
    trials: list[Trial] = []
    while (values := sweeper.propose(trials)) is not None:
        trials.append(Trial(values, TrialState.COMPLETED, loss(values)))
    return trials


def best(trials: Sequence[Trial]) -> float:
    return min(trial.value for trial in trials if trial.value is not None)


def test_tpe_finds_the_bottom_of_a_bowl_better_than_chance() -> None:
    found = [best(sweep(seed, trials=30)) for seed in range(6)]
    drawn = [best(sweep(seed, trials=30, sampler="random")) for seed in range(6)]
    assert statistics.fmean(found) < 0.5 * statistics.fmean(drawn)
    assert statistics.fmean(found) < 0.1


def test_the_same_trials_lead_to_the_same_proposal_in_another_process() -> None:
    trials = sweep(3, trials=15)
    code = (
        "import json, sys; from cpt.contracts import *; from cpt_optuna import *\n"
        "axes = {'optim.lr': Interval(1e-6, 1e-1, log=True), 'model.hidden_dropout': Interval(0.0, 1.0)}\n"
        "trials = [Trial(values, TrialState.COMPLETED, loss) for values, loss in json.load(sys.stdin)]\n"
        "print(json.dumps(OptunaSweeper(OptunaOptions(trials=15), axes, 3).propose(trials)))"
    )
    shown = json.dumps([(trial.values, trial.value) for trial in trials[:14]])
    answer = subprocess.run([sys.executable, "-c", code], input=shown, capture_output=True, text=True, check=True).stdout
    assert json.loads(answer) == trials[14].values


def test_another_seed_is_another_sweep() -> None:
    assert [trial.values for trial in sweep(1, trials=3)] != [trial.values for trial in sweep(2, trials=3)]


def test_members_that_run_keep_others_away() -> None:
    sweeper = OptunaSweeper(OptunaOptions(trials=40, startup_trials=5), AXES, 0)
    trials = [Trial(trial.values, trial.state, trial.value) for trial in sweep(0, trials=12, startup_trials=5)]
    asked = []
    for _ in range(4):
        values = sweeper.propose(trials)
        assert values is not None
        asked.append(values["optim.lr"])
        trials.append(Trial(values))
    assert len(set(asked)) == 4


def test_few_values_are_all_used_and_none_twice() -> None:
    axes = {"sched.warmup_steps": Interval(1, 3, whole=True), "optim.name": Choices(("adamw", "distributed_fused_adam"))}
    sweeper = OptunaSweeper(OptunaOptions(trials=30, startup_trials=2), axes, 0)
    trials: list[Trial] = []
    while (values := sweeper.propose(trials)) is not None:
        trials.append(Trial(values, TrialState.COMPLETED, float(len(trials))))
    assert sorted({tuple(trial.values.values()) for trial in trials}) == sorted(
        (str(steps), name) for steps in (1, 2, 3) for name in ("adamw", "distributed_fused_adam")
    )


@pytest.mark.parametrize(("high", "members"), [(0.5, 1), (math.nextafter(0.5, 1), 2)])
def test_an_interval_of_hardly_a_number_comes_to_an_end(high: float, members: int) -> None:
    sweeper = OptunaSweeper(OptunaOptions(trials=5), {"model.hidden_dropout": Interval(0.5, high)}, 0)
    trials: list[Trial] = []
    while (values := sweeper.propose(trials)) is not None:
        trials.append(Trial(values, TrialState.COMPLETED, 1.0))
    assert 1 <= len(trials) <= members


def curves(*losses: float, state: TrialState = TrialState.COMPLETED) -> list[Trial]:
    """Members that fall from 6 to these losses in 8 steps."""
    reports = [{step: 6 + (end - 6) * step / 8 for step in range(9)} for end in losses]
    return [
        Trial({"optim.lr": f"{number + 1}e-5", "model.hidden_dropout": "0.1"}, state, report[8], report)
        for number, report in enumerate(reports)
    ]


@pytest.mark.parametrize("pruner", ["median", "asha"])
def test_a_bad_member_is_ended_and_a_good_one_is_not(pruner: str) -> None:
    sweeper = OptunaSweeper(OptunaOptions(trials=20, pruner=pruner), AXES, 0)  # type: ignore[arg-type]
    others = curves(3.0, 3.1, 3.2, 3.3, 3.4, 3.5)
    bad, good = (
        Trial({**trial.values, "optim.lr": "1e-3"}, reports={step: value for step, value in trial.reports.items() if step <= 3})
        for trial in curves(5.0, 2.0)
    )
    assert sweeper.should_prune(bad, [*others, bad])
    assert not sweeper.should_prune(good, [*others, good])
    unpruned = OptunaSweeper(OptunaOptions(trials=20), AXES, 0)
    assert not unpruned.should_prune(bad, [*others, bad])


def test_no_member_is_ended_before_the_warmup_is_over() -> None:
    others = curves(3.0, 3.1, 3.2, 3.3, 3.4, 3.5)
    bad = Trial({"optim.lr": "1e-3", "model.hidden_dropout": "0.1"}, reports={0: 6.0, 1: 6.0, 2: 6.0})
    for pruner in ("median", "asha"):
        sweeper = OptunaSweeper(OptunaOptions.model_validate({"pruner": pruner, "warmup_steps": 4}), AXES, 0)
        assert not sweeper.should_prune(bad, [*others, bad])


def test_asha_ends_the_members_that_optuna_ends() -> None:
    """A study of Optuna's own, whose trials keep their rungs, and one rebuilt for each question, decide alike."""
    pruner = optuna.pruners.SuccessiveHalvingPruner(min_resource=2, reduction_factor=3)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(pruner=pruner, sampler=optuna.samplers.RandomSampler(seed=5))
    sweeper = OptunaSweeper(OptunaOptions(trials=99, pruner="asha", warmup_steps=2, reduction_factor=3), AXES, 0)
    trials: list[Trial] = []
    decisions = set()
    for number in range(25):
        asked = study.ask()
        end = asked.suggest_float("end", 1.0, 5.0)
        values, reports = {"optim.lr": f"{number + 1}e-4", "model.hidden_dropout": "0.5"}, {}
        state = TrialState.COMPLETED
        for step in range(1, 20):
            reports[step] = 6 + (end - 6) * step / 19
            asked.report(reports[step], step)
            ours = Trial(values, TrialState.RUNNING, None, dict(reports))
            theirs = asked.should_prune()
            assert sweeper.should_prune(ours, [*trials, ours]) == theirs, (number, step)
            decisions.add(theirs)
            if theirs:
                state = TrialState.PRUNED
                break
        ended = state is TrialState.COMPLETED
        study.tell(asked, reports[step] if ended else None, state=None if ended else optuna.trial.TrialState.PRUNED)
        trials.append(Trial(values, state, reports[step] if ended else None, reports))
    assert decisions == {True, False}
