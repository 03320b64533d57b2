"""Sweeps whose members are drawn: the same seed the same members, kept, grown, and never mixed with others."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cpt.composition import open_sweep
from cpt.contracts import Choices, Interval, Trial
from cpt.errors import PluginError, RecipeError
from cpt.sweeps.random_search import RandomOptions, RandomSweeper
from cpt.sweeps.sweep import Sweep

RANDOM = ("sweeper=random", "sweeper.options.trials=4", "optim.lr=tag(log,interval(1e-5,1e-3))", "train.max_steps=int(interval(2,9))")


def labels(sweep: Sweep) -> list[str]:
    return [member.label for member in sweep.members]


def refusal(opened, *words: str) -> str:
    with pytest.raises(RecipeError) as error:
        opened(*words)
    return str(error.value)


def test_members_are_drawn_within_their_intervals_and_named_by_them(opened) -> None:
    sweep = opened(*RANDOM)
    assert len(sweep.members) == 4
    for member in sweep.members:
        recipe = member.composed.recipe
        assert 1e-5 <= recipe.optim.lr <= 1e-3
        assert 2 <= recipe.train.max_steps <= 9
        assert member.label == f"optim.lr={member.values['optim.lr']},train.max_steps={member.values['train.max_steps']}"


def test_the_same_command_draws_the_same_and_more_trials_add(opened, tmp_path: Path) -> None:
    first = labels(opened(*RANDOM))
    assert labels(opened(*RANDOM)) == first
    assert labels(opened(*RANDOM, "sweeper.options.trials=7"))[:4] == first
    assert len((tmp_path / "s/trials.jsonl").read_text().splitlines()) == 8


@pytest.mark.parametrize(
    ("change", "shown"),
    [
        ("optim.lr=tag(log,interval(1e-5,1e-2))", "axes.optim.lr"),
        ("sweeper.seed=1", "sweeper.seed: 0 → 1"),
        ("train.max_length=128", "recipe.train.max_length"),
        ("sweeper.metric=train/loss", "sweeper.metric"),
    ],
)
def test_another_definition_under_the_same_name_is_refused_with_the_difference(opened, change: str, shown: str) -> None:
    opened(*RANDOM)
    words = [word for word in RANDOM if word.partition("=")[0] != change.partition("=")[0]]
    text = refusal(opened, *words, change)
    assert shown in text
    assert "run.name" in text


@pytest.mark.parametrize("change", ["sweeper.parallel=3", "logger=[]", "launcher=local", "checkpoint.every=9", "train.log_every=5"])
def test_what_leaves_results_comparable_may_change(opened, change: str) -> None:
    first = labels(opened(*RANDOM))
    assert labels(opened(*RANDOM, change)) == first


def test_all_faults_of_all_members_come_before_anything_is_written(tmp_path: Path) -> None:
    words = ("sweeper=random", "optim.lr=interval(2,9)", "model.hidden_dropout=interval(0,0.1)", f"run.output={tmp_path}")
    with pytest.raises(RecipeError) as error:
        Sweep.open(open_sweep(words))
    assert all(fault.where == "optim.lr" for fault in error.value.faults)
    assert list(tmp_path.iterdir()) == []


def test_options_and_sweepers_that_are_not_there_are_refused(opened) -> None:
    with pytest.raises(PluginError, match=r"sweeper\.options\.trails: 3: unknown option\. Did you mean trials\?"):
        opened("sweeper=random", "sweeper.options.trails=3", "optim.lr=1e-4,1e-3")
    with pytest.raises(PluginError, match="no installed package offers this sweeper"):
        opened("sweeper.name=sobol", "optim.lr=1e-4,1e-3")


def test_another_process_that_went_on_meanwhile_is_noticed(opened, tmp_path: Path) -> None:
    sweep = opened(*RANDOM)
    with (tmp_path / "s/trials.jsonl").open("a") as file:
        file.write(json.dumps({"label": "x", "values": {"optim.lr": "1e-4", "train.max_steps": "3"}, "pruned": False}) + "\n")
    with pytest.raises(Exception, match="another process has gone on"):
        sweep.read()


def test_numbers_are_spread_as_their_axis_asks() -> None:
    axes = {"a": Interval(1e-6, 1.0, log=True), "b": Interval(0.0, 1.0), "c": Interval(1, 4, whole=True), "d": Choices(("x", "y"))}
    sweeper = RandomSweeper(RandomOptions(trials=400), axes, 0)
    trials: list[Trial] = []
    while (values := sweeper.propose(trials)) is not None:
        trials.append(Trial(values))
    share = {
        "a": sum(float(trial.values["a"]) < 1e-3 for trial in trials) / 400,
        "b": sum(float(trial.values["b"]) < 0.5 for trial in trials) / 400,
        "c": sum(trial.values["c"] in "12" for trial in trials) / 400,
        "d": sum(trial.values["d"] == "x" for trial in trials) / 400,
    }
    assert all(0.42 < value < 0.58 for value in share.values()), share


def test_an_axis_too_fine_for_few_digits_gets_more() -> None:
    sweeper = RandomSweeper(RandomOptions(trials=30), {"a": Interval(1.0, 1.0001)}, 0)
    trials: list[Trial] = []
    while (values := sweeper.propose(trials)) is not None:
        trials.append(Trial(values))
    assert len({trial.values["a"] for trial in trials}) == 30
