"""Any valid recipe of Amazon's, imported, typed and exported, is the same recipe; its text reads back the same everywhere."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf

from cpt.recipe.amazon import from_amazon, render, to_amazon
from cpt.recipe.amazon_layout import leaves
from cpt.recipe.build import build

Tree = dict[str, Any]
S3_FILES = st.from_regex(r"s3://[a-z0-9][a-z0-9.-]{2,20}/[A-Za-z0-9 _.=/ü-]{0,30}\.jsonl", fullmatch=True)
S3_FOLDERS = st.from_regex(r"s3://[a-z0-9][a-z0-9.-]{2,20}/[A-Za-z0-9_.=/-]{0,30}[a-z0-9]", fullmatch=True)
NAMES = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,32}[a-z0-9])?", fullmatch=True)
RATES = st.floats(1e-6, 1.0)
SHARES = st.floats(0.0, 1.0)
BETAS = st.floats(0.0, 1.0, exclude_max=True)
WORDS = st.text(st.characters(exclude_categories=["C", "Z"], exclude_characters="$"), min_size=1, max_size=20)
REPLICAS = {"micro": [2, 4, 8], "lite": [4, 8, 16, 32], "pro": [6, 12, 24]}


@st.composite
def runs(draw: st.DrawFn, amazons: Tree, replicas: list[int]) -> Tree:
    """`amazons` with other values in what both layouts share."""
    run, config = amazons["run"], amazons["training_config"]
    run |= {
        "name": draw(NAMES),
        "replicas": draw(st.sampled_from(replicas)),
        "data_s3_path": draw(S3_FILES),
        "output_s3_path": draw(S3_FOLDERS),
    }
    if draw(st.booleans()):
        run["validation_data_s3_path"] = draw(S3_FILES)
    if draw(st.booleans()):
        run["model_name_or_path"] = draw(S3_FOLDERS)
    if draw(st.booleans()):
        run |= {"mlflow_tracking_uri": draw(WORDS | st.just("")), "mlflow_experiment_name": draw(WORDS), "mlflow_run_name": draw(WORDS)}
    config |= {"max_length": draw(st.integers(2, 8192)), "global_batch_size": draw(st.sampled_from([32, 64, 128, 256]))}
    config["model"] |= {"hidden_dropout": draw(SHARES), "attention_dropout": draw(SHARES)}
    optim = config.get("optim") or config["model"]["optim"]
    lr = draw(RATES)
    optim |= {"lr": lr, "adam_w_mode": draw(st.booleans()), "eps": draw(st.floats(1e-12, 1.0)), "weight_decay": draw(SHARES)}
    min_lr = draw(st.floats(0.0, lr, exclude_max=True))
    optim["sched"] |= {"warmup_steps": draw(st.integers(1, 20)), "constant_steps": draw(st.integers(0, 10**6)), "min_lr": min_lr}
    return amazons


@st.composite
def nova_1_recipes(draw: st.DrawFn, make: Callable[..., Tree]) -> Tree:
    size = draw(st.sampled_from(sorted(REPLICAS)))
    amazons = draw(runs(make(size), REPLICAS[size]))
    amazons["training_config"]["trainer"]["max_epochs"] = draw(st.integers(1, 100))
    amazons["training_config"]["model"]["ffn_dropout"] = draw(SHARES)
    amazons["training_config"]["model"]["optim"]["betas"] = [draw(BETAS), draw(BETAS)]
    return amazons


@st.composite
def nova_2_recipes(draw: st.DrawFn, make: Callable[[], Tree]) -> Tree:
    amazons = draw(runs(make(), REPLICAS["lite"]))
    interval = draw(st.integers(1, 1000) | st.floats(0.0, 1.0, exclude_min=True))
    amazons["training_config"]["trainer"] |= {"max_steps": draw(st.integers(1, 100_000)), "val_check_interval": interval}
    amazons["training_config"]["optim"] |= {"adam_beta1": draw(BETAS), "adam_beta2": draw(BETAS)}
    return amazons


def laid_over(tree: Tree, partial: Tree) -> Tree:
    """`partial` over the composed tree of its model and cluster; the door does the same."""
    for key, value in partial.items():
        if isinstance(value, dict) and isinstance(tree.get(key), dict) and key != "amazon":
            laid_over(tree[key], value)
        else:
            tree[key] = copy.deepcopy(value)
    return tree


EXAMPLES = settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])


def there_and_back(amazons: Tree, tree: Callable[..., Tree]) -> None:
    partial = from_amazon(amazons, "x.yaml")
    base = tree(f"model={partial['model']['name']}", "data=jsonl", "data.train=x.jsonl", "cluster=local")
    base["cluster"] = tree("cluster=p5x2")["cluster"]
    recipe, _ = build(laid_over(base, partial))
    out = to_amazon(recipe)
    assert out == amazons
    text = render(out)
    assert yaml.safe_load(text) == out == OmegaConf.to_container(OmegaConf.create(text))
    assert types(yaml.safe_load(text)) == types(amazons)


def types(tree: Tree) -> dict[str, type]:
    return {key: type(value) for key, value in leaves(tree, frozenset())}


@EXAMPLES
@given(data=st.data())
def test_every_nova_1_recipe_comes_back_as_it_went_in(data: st.DataObject, nova_1, tree) -> None:
    there_and_back(data.draw(nova_1_recipes(nova_1)), tree)


@EXAMPLES
@given(data=st.data())
def test_every_nova_2_recipe_comes_back_as_it_went_in(data: st.DataObject, nova_2, tree) -> None:
    there_and_back(data.draw(nova_2_recipes(nova_2)), tree)


def test_files_come_back_through_the_door(imported, nova_1, nova_2) -> None:
    for amazons in (nova_1(), nova_2()):
        assert to_amazon(imported(amazons).recipe) == amazons


@pytest.mark.parametrize("text", ["true", "null", "no", "010", "1e5", "a: b", "- a", "#x", "ü", "'", '"', "x" * 500, "a\\b"])
def test_a_rendered_text_is_read_back_as_that_text(nova_1, text: str) -> None:
    amazons = nova_1()
    amazons["run"]["mlflow_run_name"] = text
    rendered = render(amazons)
    assert yaml.safe_load(rendered) == amazons
    assert OmegaConf.to_container(OmegaConf.create(rendered)) == amazons


def test_numbers_are_written_for_yaml_1_1_and_the_type_is_quoted(nova_1) -> None:
    text = render(nova_1())
    assert "lr: 1.0e-05\n" in text
    assert 'model_type: "amazon.nova-lite-v1:0:300k"\n' in text
    assert "replicas: 4\n" in text
