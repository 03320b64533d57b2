"""`-m` makes every member of the grid, names it by what varies, and composes each choice of groups once."""

from __future__ import annotations

import time

import pytest
from swept import members

from cpt.composition import compose, open_sweep
from cpt.contracts import Interval
from cpt.errors import RecipeError


def refusal(*overrides: str) -> str:
    with pytest.raises(RecipeError) as error:
        members(overrides)
    return str(error.value)


def labels(*overrides: str) -> list[str]:
    return [label for label, _ in members(overrides)]


def test_the_grid_is_the_product_with_the_last_varying_fastest() -> None:
    found = members(["optim.lr=1e-4,2e-4", "train.max_length=128", "model.hidden_dropout=choice(0.0,0.1)"])
    assert [label for label, _ in found] == [
        "optim.lr=0.0001,model.hidden_dropout=0.0",
        "optim.lr=0.0001,model.hidden_dropout=0.1",
        "optim.lr=0.0002,model.hidden_dropout=0.0",
        "optim.lr=0.0002,model.hidden_dropout=0.1",
    ]
    assert [(c.recipe.optim.lr, c.recipe.model.hidden_dropout) for _, c in found] == [(1e-4, 0.0), (1e-4, 0.1), (2e-4, 0.0), (2e-4, 0.1)]


def test_a_member_equals_the_same_command_alone() -> None:
    found = members(["model=nova_tiny,nova_lite", "train.max_steps=3,4"])
    for _, composed in found:
        alone = compose(composed.overrides)
        assert (alone.recipe, alone.yaml) == (composed.recipe, composed.yaml)


def test_ranges_and_globs_are_expanded() -> None:
    assert labels("train.max_steps=range(1,4)") == ["train.max_steps=1", "train.max_steps=2", "train.max_steps=3"]
    assert labels("model.hidden_dropout=range(0,0.3,0.1)") == [f"model.hidden_dropout={p}" for p in ("0.0", "0.1", "0.2")]
    assert labels("model=glob(nova_*,exclude=[*tiny,*2*])") == ["model=nova_lite", "model=nova_micro", "model=nova_pro"]


def test_a_sweep_over_lists_and_quoted_texts_keeps_their_values() -> None:
    found = members(["logger=[],[tensorboard]", "eval.prompt='a, b',c"])
    assert [(list(c.recipe.logger), c.recipe.eval.prompt) for _, c in found] == [
        ([], "a, b"),
        ([], "c"),
        (["tensorboard"], "a, b"),
        (["tensorboard"], "c"),
    ]


def test_a_command_that_sweeps_nothing_is_a_grid_of_one() -> None:
    ((label, composed),) = members(["optim.lr=1e-4"])
    assert (label, composed.recipe) == ("optim.lr=1e-4", compose(["optim.lr=1e-4"]).recipe)
    assert labels("optim.lr=1e-4", "model=glob(nova_t*)") == ["optim.lr=1e-4,model=nova_tiny"]
    assert labels() == ["as_composed"]
    assert labels("run.output=o", "sweeper.parallel=1", "optim.lr=1e-4") == ["optim.lr=1e-4"]


def test_a_label_is_a_folders_name_short_and_unique() -> None:
    names = labels("data.train=a/x.jsonl,a_x.jsonl,../../etc", "eval.prompt=" + ",".join(c * 200 for c in "ab"))
    assert len(set(names)) == 6
    assert all(len(name) <= 150 and "/" not in name for name in names)


def test_a_value_named_twice_is_one_member() -> None:
    assert labels("optim.lr=1e-4,2e-4,1e-4") == ["optim.lr=0.0001", "optim.lr=0.0002"]


def test_an_interval_needs_another_sweeper() -> None:
    assert "needs a random or Optuna sweeper" in refusal("optim.lr=interval(1e-6,1e-4)", "train.max_steps=1,2")
    with pytest.raises(RecipeError, match="needs a random or Optuna sweeper"):
        compose(["optim.lr=interval(1e-6,1e-4)"])


def test_the_faults_of_all_members_come_at_once_and_each_once() -> None:
    text = refusal("optim.lr=3,1e-4,4", "train.max_steps=1,2", "modle=x")
    assert "modle: x" in text
    text = refusal("optim.lr=3,1e-4,4", "train.max_steps=1,2")
    assert text.count("optim.lr: 3") == text.count("optim.lr: 4") == 1
    assert "model: nova_por" in refusal("model=nova_tiny,nova_por")


def test_an_empty_glob_and_a_huge_grid_are_refused() -> None:
    assert "stands for nothing" in refusal("model=glob(zzz*)")
    assert "stands for nothing" in refusal("optim.lr=glob(*)")
    assert "at most 10,000 members" in refusal("train.max_steps=range(1,1000000000000)")
    assert "at most 10,000 members" in refusal("train.max_steps=range(1,200)", "run.seed=range(1,200)")


@pytest.mark.parametrize(
    ("typed", "interval"),
    [
        ("interval(1e-6,1e-4)", Interval(1e-6, 1e-4)),
        ("tag(log, interval(1e-6,1e-4))", Interval(1e-6, 1e-4, log=True)),
        ("int(interval(1,9))", Interval(1, 9, whole=True)),
        ("tag(log,int(interval(1,9)))", Interval(1, 9, log=True, whole=True)),
    ],
)
def test_an_interval_is_read_with_its_scale_and_kind(typed: str, interval: Interval) -> None:
    assert open_sweep([f"optim.lr={typed}", "sweeper=random"]).axes == {"optim.lr": interval}


@pytest.mark.parametrize(
    ("typed", "rule"),
    [
        ("interval(2,1)", "the lower one first"),
        ("interval(1,1)", "the lower one first"),
        ("interval(0,inf)", "bounds are numbers"),
        ("tag(log,interval(0,1))", "begins above 0"),
        ("tag(lg,interval(1,2))", "lg is no tag"),
    ],
)
def test_an_interval_that_cannot_be_drawn_from_is_refused(typed: str, rule: str) -> None:
    assert rule in refusal(f"optim.lr={typed}", "sweeper=random")


@pytest.mark.parametrize("override", ["run.name=a,b", "run.output=a,b", "sweeper.seed=1,2", "sweeper=grid,random", "launcher=auto,local"])
def test_what_belongs_to_the_whole_sweep_cannot_vary_within_it(override: str) -> None:
    assert "belongs to the whole sweep" in refusal(override)


def test_later_words_win_over_an_axis_and_an_axis_over_earlier_ones() -> None:
    assert labels("train.max_steps=1,2", "train.max_steps=3", "optim.lr=1e-4,2e-4") == ["optim.lr=0.0001", "optim.lr=0.0002"]
    assert labels("train.max_steps=3", "train.max_steps=1,2") == labels("train.max_steps=7,8", "train.max_steps=1,2")
    assert labels("train.max_steps=3", "train.max_steps=1,2") == ["train.max_steps=1", "train.max_steps=2"]


def test_a_fault_of_the_sweepers_settings_is_told_with_the_others() -> None:
    text = refusal("sweeper.parallel=x", "optim.lr=1e-4,2e-4", "optim.lrr=1")
    assert "sweeper.parallel: x" in text
    assert "optim.lrr" in text
    assert "sweeper: rando" in refusal("sweeper=rando", "optim.lr=1e-4,2e-4")
    assert "sweeper.metric" in refusal("sweeper.metric=train/lr", "optim.lr=1e-4,2e-4")


def test_two_hundred_members_take_less_than_twelve_seconds() -> None:
    start = time.process_time()
    assert len(members(["optim.lr=1e-4,2e-4", "train.max_steps=range(1,101)"])) == 200
    assert time.process_time() - start < 12
