"""What a person types does what a Hydra user expects, and every mistake is answered with its cure, all of them at once."""

from __future__ import annotations

import time

import pytest

from cpt import offers
from cpt.composition import compose
from cpt.errors import RecipeError


def faults(*overrides: str) -> list[str]:
    with pytest.raises(RecipeError) as error:
        compose(overrides)
    return [str(fault) for fault in error.value.faults]


def fault(*overrides: str) -> str:
    (only,) = faults(*overrides)
    return only


@pytest.mark.parametrize(
    ("override", "cure"),
    [
        ("modle=nova_pro", "Did you mean model?"),
        ("model=nova_por", "Did you mean model=nova_pro?"),
        ("model=NOVA_PRO", "Did you mean model=nova_pro?"),
        ("cluster=p5x25", "Did you mean cluster=p5x2"),
        ("optim.lrr=1e-5", "Did you mean optim.lr?"),
        ("optm.lr=1e-5", "Did you mean optim.lr?"),
        ("lr=1e-5", "Did you mean optim.lr?"),
        ("train.max_lenght=128", "Did you mean train.max_length?"),
        ("logger=zzz", "there is no such option of logger. Options: "),
        ("~optim.lrr", "Did you mean optim.lr?"),
    ],
)
def test_a_mistyped_name_gets_did_you_mean(override: str, cure: str) -> None:
    assert cure in fault(override)


@pytest.mark.parametrize(
    ("kind", "override"),
    [
        ("data_sources", "data=abacus"),
        ("launchers", "launcher=abacus"),
        ("loggers", "logger=abacus"),
        ("loggers", "logger=[tensorboard,abacus]"),
        ("sweepers", "sweeper=abacus"),
    ],
)
def test_an_option_of_a_package_that_is_not_installed_names_the_package(kind: str, override: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(offers.OFFERED_BY, (kind, "abacus"), "cpt-abacus")
    assert "the plugin cpt-abacus, which is not installed" in fault(override)


@pytest.mark.parametrize(
    ("override", "quoted"),
    [
        ("data.train=~/x.jsonl", """'data.train="~/x.jsonl"'"""),
        ("data.train=dir(1)/x.jsonl", """'data.train="dir(1)/x.jsonl"'"""),
        ("data.train=a=b.jsonl", """'data.train="a=b.jsonl"'"""),
        ("run.output=größe", """'run.output="größe"'"""),
    ],
)
def test_a_value_that_the_grammar_cannot_take_is_answered_with_how_to_quote_it(override: str, quoted: str) -> None:
    assert f"Write {quoted}." in fault(override)
    key, _, value = override.partition("=")
    tree = compose([quoted.strip("'")]).tree
    assert tree[key.split(".")[0]][key.split(".")[1]] == value


def test_all_faults_of_a_command_come_at_once_those_of_the_rules_too() -> None:
    texts = faults(
        "optm.lr=3", "data.train=~/x.jsonl", "hydra.run.dir=x", "optim.lr=3", "run.name=../x", "train.max_length=many", "+eval.foo=1"
    )
    places = [text.split(":")[0] for text in texts]
    assert sorted(places) == sorted(["optm.lr", "data.train", "hydra.run.dir", "optim.lr", "run.name", "train.max_length", "eval.foo"])


def test_a_mistyped_choice_does_not_drag_rule_faults_of_another_recipe_along() -> None:
    assert fault("model=nova_por", "train.max_length=8192").startswith("model: nova_por:")


@pytest.mark.parametrize(
    ("override", "cure"),
    [
        ("hydra.run.dir=/tmp", "run.output"),
        ("hydra/launcher=joblib", "launcher="),
        ("hydra/sweeper=optuna", "sweeper="),
        ("hydra.searchpath=[pkg://evil]", "--config-dir"),
        ("+hydra.callbacks.x._target_=os.getcwd", "not open"),
        ("~hydra", "not open"),
        ("hydra={run: x}", "not open"),
        ("hydra@x=y", "not open"),
    ],
)
def test_hydras_own_configuration_is_refused_by_name(override: str, cure: str) -> None:
    text = fault(override)
    assert "Hydra's own configuration is not open to recipes" in text
    assert cure in text


def test_a_value_is_set_added_forced_and_deleted_as_in_hydra() -> None:
    assert compose(["optim.lr=2e-4"]).recipe.optim.lr == 2e-4
    assert compose(["++optim.lr=2e-4"]).recipe.optim.lr == 2e-4
    assert compose(["optim.betas.1=0.98"]).recipe.optim.betas == (0.9, 0.98)
    assert compose(["optim={lr: 2e-4}"]).recipe.optim.lr == 2e-4
    assert compose(["~data.validation.general"]).recipe.data.validation == {"domain": "python_source/held_out"}
    assert compose(["+data.validation.mine=x.jsonl"]).recipe.data.validation["mine"] == "x.jsonl"  # type: ignore[index, call-overload]
    assert "the recipe has this key already. Use optim.lr=1" in fault("+optim.lr=1")
    assert "is not a key of the recipe" in fault("+optim.momentum=1")
    assert "the value there is 0.0005" in fault("~optim.lr=3")
    assert "optim.lr: must be given" in fault("~optim.lr")


def test_a_path_into_a_list_stays_in_the_list() -> None:
    for override in ("+optim.betas.2=1", "+optim.betas.0.x=1", "+optim.betas.9.x=1", "+optim.betas.x=1"):
        assert "a list has elements" in fault(override)


def test_a_group_is_chosen_once_and_in_its_place() -> None:
    assert "Use experiment=nova_tiny_base" in fault("+experiment=nova_tiny_base")
    assert "Use model=OPTION" in fault("model@other=nova_pro")
    assert "takes one option" in fault("model=[nova_pro]")
    assert "a recipe needs each of its groups" in fault("~optim")


def test_the_last_of_two_overrides_wins() -> None:
    assert compose(["optim.lr=1e-4", "optim.lr=2e-4"]).recipe.optim.lr == 2e-4
    assert compose(["cluster=p5x2", "cluster=local"]).recipe.cluster.name == "local"


def test_loggers_are_a_list() -> None:
    assert compose([]).recipe.logger == {"tensorboard": {}}
    assert compose(["logger=tensorboard"]).recipe.logger == {"tensorboard": {}}
    assert compose(["logger=[]"]).recipe.logger == {}
    assert "Add logger=[tensorboard,aim]" in fault("logger.aim.repo=x")


def test_options_of_plugins_need_no_plus() -> None:
    recipe = compose(["data.options.a.b=3", "launcher.options.partition=gpu", "logger.tensorboard.flush=1"]).recipe
    assert (recipe.data.options, recipe.launcher.options) == ({"a": {"b": 3}}, {"partition": "gpu"})
    assert recipe.logger == {"tensorboard": {"flush": 1}}


def test_a_comma_list_without_m_says_how_to_sweep_and_how_to_give_a_list() -> None:
    text = fault("train.max_steps=1,2")
    assert "Add -m to run each, or write train.max_steps=[1,2] for a list" in text
    assert fault("train.max_steps=choice(1,2)").endswith("Add -m to run each.")
    assert fault("cluster=p5x24,local").endswith("Add -m to run each.")
    assert "write logger=[tensorboard,aim]" in fault("logger=tensorboard,aim")
    assert "a random or Optuna sweeper" in fault("optim.lr=interval(0,1)")


@pytest.mark.parametrize(
    "overrides",
    [
        ["data.train=x.jsonl"],
        ["data=jsonl", "data.train=x.jsonl"],
        ["data={train: x.jsonl}"],
        ["experiment=nova_tiny_base", "data.train=x.jsonl"],
    ],
)
def test_a_file_for_training_leaves_the_sample_behind(overrides: list[str]) -> None:
    data = compose(overrides).recipe.data
    assert (data.source, data.train, data.validation) == ("jsonl", "x.jsonl", None)


def test_a_source_named_by_hand_stays() -> None:
    assert compose(["data=sample", "data.train=english_prose/train"]).recipe.data.source == "sample"
    assert compose(["data.source=sample", "data.train=english_prose/train"]).recipe.data.source == "sample"
    assert compose(["data.train=x.jsonl", "data.validation={a: y.jsonl}"]).recipe.data.validation == {"a": "y.jsonl"}


def test_composing_takes_less_than_half_a_second() -> None:
    compose([])
    start = time.process_time()
    compose(["model=nova_pro", "cluster=p5x24"])
    assert time.process_time() - start < 0.5
