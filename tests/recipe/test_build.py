"""Types, unknown and missing keys: one clear fault each, all at once."""

from __future__ import annotations

import json

import pytest

from cpt.errors import RecipeError
from cpt.recipe.build import build
from cpt.recipe.schema import Recipe


def test_whole_numbers_are_fine_where_a_fraction_may_stand(tree) -> None:
    recipe, _ = build(tree(optim__lr=1, sched__min_lr=0, optim__weight_decay=0))
    assert (recipe.optim.lr, type(recipe.optim.lr)) == (1.0, float)


def test_lists_become_tuples_and_the_recipe_survives_json(tree) -> None:
    recipe, _ = build(tree("data.train=[a.jsonl,b.jsonl]", "data.validation={x: c.jsonl}"))
    assert recipe.data.train == ("a.jsonl", "b.jsonl")
    assert Recipe.model_validate_json(json.dumps(recipe.model_dump(mode="json"))) == recipe


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("cluster__nodes", "24", "cluster.nodes: 24: must be a whole number. Write 24 without quotes."),
        ("optim__lr", "1e-4", "optim.lr: 1e-4: must be a number. Write 0.0001 without quotes."),
        ("optim__eps", "1e-8", "optim.eps: 1e-8: must be a number. Write 1.0e-08 without quotes."),
        ("optim__lr", True, "optim.lr: true: must be a number."),
        ("train__max_length", False, "train.max_length: false: must be a whole number."),
        ("train__max_steps", 100.0, "train.max_steps: 100.0: must be a whole number or null. Write 100."),
        ("train__micro_batch_size", "atuo", "train.micro_batch_size: atuo: must be a whole number or auto."),
        ("train__micro_batch_size", 1.5, "train.micro_batch_size: 1.5: must be a whole number or auto."),
        ("train__precision", "fp16", "train.precision: fp16: must be fp32 or bf16."),
        ("optim__betas", [0.9], "optim.betas: [0.9]: must be a list of 2 numbers."),
        ("optim__betas", [0.9, "x"], 'optim.betas: [0.9, "x"]: must be a list of 2 numbers.'),
        ("optim__adam_w_mode", "yes", "optim.adam_w_mode: yes: must be true or false."),
        ("run__name", 123, "run.name: 123: must be text or null. Quote it, so that it stays text: \"'123'\"."),
        ("run__seed", -1, "run.seed: -1: must be at least 0."),
        ("run__seed", 2**32, "run.seed: 4294967296: must be less than 4294967296."),
        ("model__architecture__layers", 0, "model.architecture.layers: 0: must be at least 1."),
        ("logger", {"tensorboard": 3}, "logger.tensorboard: 3: must be a group of keys."),
        ("optim", None, "optim: null: must be a group of keys."),
    ],
)
def test_a_wrong_type_gives_one_fault_in_our_words(tree, key: str, value: object, says: str) -> None:
    with pytest.raises(RecipeError) as error:
        build(tree(**{key: value}))
    assert str(error.value) == says


def test_named_validation_sets_hold_locations_only(tree, faults) -> None:
    assert list(faults(tree(data__validation={"a": 3}))) == ["data.validation"]


@pytest.mark.parametrize(
    ("key", "near"),
    [
        ("sched.warmup_stesp", "sched.warmup_steps"),
        ("optim.warmup_steps", "sched.warmup_steps"),
        ("train.lr", "optim.lr"),
        ("optimm", "optim"),
        ("model.architecture.layer", "model.architecture.layers"),
    ],
)
def test_an_unknown_key_names_the_nearest(tree, faults, key: str, near: str) -> None:
    found = faults(tree(**{key.replace(".", "__"): 1}))
    assert list(found) == [key]
    assert found[key].cure == f"Did you mean {near}?"


def test_an_unlike_key_names_what_stands_there(tree, faults) -> None:
    assert faults(tree(eval__zzz=1))["eval.zzz"].cure == "Here stand prompt, max_tokens"


def test_every_missing_key_is_a_fault(tree, faults) -> None:
    lacking = tree()
    del lacking["train"]["max_length"], lacking["model"]["init"], lacking["eval"], lacking["train"]["max_steps"]
    found = faults(lacking)
    assert set(found) == {"train.max_length", "model.init", "eval", "train.max_steps"}
    assert {fault.rule for fault in found.values()} == {"must be given"}


def test_an_empty_tree_names_every_group(faults) -> None:
    assert set(faults({})) == set(Recipe.model_fields)


def test_all_faults_come_at_once_whatever_their_kind(tree, faults) -> None:
    found = faults(
        tree(
            optim__lr="x",
            optim__zzz=1,
            train__global_batch_size=0,
            sched__min_lr=2,
            run__name="../x",
            train__max_epochs=None,
            train__max_steps=None,
        )
    )
    assert set(found) == {"optim.lr", "optim.zzz", "train.global_batch_size", "sched.min_lr", "run.name", "train.max_steps"}


def test_a_value_that_json_cannot_hold_is_a_fault_and_no_crash(tree, faults) -> None:
    assert set(faults(tree(optim__lr=float("nan"), train__clip_norm=float("inf"), run__output="a\udcff"))) == {
        "optim.lr",
        "train.clip_norm",
        "run.output",
    }


def test_a_broken_group_does_not_repeat_its_keys(tree, faults) -> None:
    assert set(faults(tree(cluster=[1], logger=None))) == {"cluster", "logger"}
