"""Composed trees to change and build, and Amazon's recipes."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from cpt.composition import Composed, compose
from cpt.errors import Fault, RecipeError
from cpt.recipe.amazon import render
from cpt.recipe.amazon_layout import put
from cpt.recipe.build import build

Tree = dict[str, Any]


@cache
def _composed(overrides: tuple[str, ...]) -> Tree:
    return compose(overrides).tree


def _tree(*overrides: str, **values: Any) -> Tree:
    """The composed tree; `optim__lr=3` sets `optim.lr` after composing."""
    tree = copy.deepcopy(_composed(overrides))
    for key, value in values.items():
        put(tree, key.replace("__", "."), value)
    return tree


def _faults(tree: Tree) -> dict[str, Fault]:
    found: tuple[Fault, ...] = ()
    try:
        build(tree)
    except RecipeError as error:
        found = error.faults
    assert len({fault.where for fault in found}) == len(found), "a key is faulted twice"
    return {fault.where: fault for fault in found}


@pytest.fixture
def tree() -> Callable[..., Tree]:
    return _tree


@pytest.fixture
def faults() -> Callable[[Tree], dict[str, Fault]]:
    return _faults


def _nova_1(size: str = "lite", replicas: int = 4) -> Tree:
    context = "128k" if size == "micro" else "300k"
    return {
        "run": {
            "name": "my-cpt-run",
            "model_type": f"amazon.nova-{size}-v1:0:{context}",
            "model_name_or_path": f"nova-{size}/prod",
            "replicas": replicas,
            "data_s3_path": "s3://bucket/train.jsonl",
            "output_s3_path": "s3://bucket/output",
        },
        "training_config": {
            "max_length": 8192,
            "global_batch_size": 256,
            "trainer": {"max_epochs": 2},
            "model": {
                "hidden_dropout": 0.0,
                "attention_dropout": 0.0,
                "ffn_dropout": 0.0,
                "optim": {
                    "lr": 1e-5,
                    "name": "distributed_fused_adam",
                    "adam_w_mode": True,
                    "eps": 1e-6,
                    "weight_decay": 0.0,
                    "betas": [0.9, 0.999],
                    "sched": {"warmup_steps": 10, "constant_steps": 0, "min_lr": 1e-6},
                },
            },
        },
    }


def _nova_2() -> Tree:
    return {
        "run": {
            "name": "my-cpt-run",
            "model_type": "amazon.nova-2-lite-v1:0:256k",
            "model_name_or_path": "nova-lite-2/prod",
            "replicas": 8,
            "data_s3_path": "s3://bucket/train.jsonl",
            "validation_data_s3_path": "",
            "output_s3_path": "s3://bucket/output",
        },
        "training_config": {
            "task_type": "cpt",
            "max_length": 8192,
            "global_batch_size": 256,
            "trainer": {"max_steps": 100, "val_check_interval": 10, "limit_val_batches": 2},
            "model": {"hidden_dropout": 0.0, "attention_dropout": 0.0},
            "optim": {
                "optimizer": "adam",
                "lr": 1e-5,
                "name": "distributed_fused_adam",
                "adam_w_mode": True,
                "eps": 1e-6,
                "weight_decay": 0.0,
                "adam_beta1": 0.9,
                "adam_beta2": 0.95,
                "sched": {"warmup_steps": 10, "constant_steps": 0, "min_lr": 1e-6},
            },
        },
    }


@pytest.fixture
def nova_1() -> Callable[..., Tree]:
    return _nova_1


@pytest.fixture
def nova_2() -> Callable[[], Tree]:
    return _nova_2


@pytest.fixture
def imported(tmp_path: Path) -> Callable[..., Composed]:
    def read(recipe: Tree | str, *overrides: str) -> Composed:
        file = tmp_path / "amazon.yaml"
        file.write_text(recipe if isinstance(recipe, str) else render(recipe))
        return compose(list(overrides), recipe_file=file)

    return read
