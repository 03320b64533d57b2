"""Every option that ships composes to the schema, key for key, and the models are what they are named after."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from swept import members

from cpt.composition import compose, groups
from cpt.recipe.build import keys
from cpt.recipe.gate import dotted, read_yaml, walk
from cpt.recipe.library import Library
from cpt.recipe.schema import Recipe

CONF = Library.open().shelves[0].root
COMPANIONS = {
    "data=jsonl": ["data.train=text.jsonl"],
    **{f"experiment={goal}": ["data.train=text.jsonl"] for goal in ("one_card", "one_node", "many_nodes")},
    "tokenizer=file": ["tokenizer.path=tokenizer.json"],
    "model=auto": ["model.init=folder"],
    "train=nova": ["model=nova_lite"],
    "train=nova_2": ["model=nova_2_lite"],
}
"""What some options need beside them to make a recipe."""
CHOICES = [f"{group}={option}" for group, options in groups().items() for option in options]
PUBLISHED_PARAMETERS = {
    "llama3_2_1b": 1_235_814_400,
    "llama3_2_3b": 3_212_749_824,
    "llama3_1_8b": 8_030_261_248,
    "qwen3_0_6b": 596_049_920,
    "qwen3_4b": 4_022_468_096,
    "qwen3_8b": 8_190_735_360,
    "mistral_7b": 7_248_023_552,
    "smollm2_135m": 134_515_008,
    "smollm2_360m": 361_821_120,
}


def composed(*overrides: str) -> Any:
    return compose(overrides).recipe


def architecture(model: str) -> Any:
    return composed(f"model={model}", *(() if model.startswith("nova") else ("model.init=folder",))).model.architecture


@pytest.mark.parametrize("choice", CHOICES)
def test_every_option_composes_and_validates(choice: str) -> None:
    models = ["model.init=folder"] if choice.startswith("model=") and "nova" not in choice else []
    recipe = composed(choice, *COMPANIONS.get(choice, models))
    group, _, option = choice.partition("=")
    name = getattr(getattr(recipe, group, None), "name", None)
    assert name in (None, option)


@pytest.mark.parametrize(
    "group",
    [
        "model",
        "optim",
        "sched",
        "train",
        "data",
        "tokenizer",
        "cluster",
        "parallel",
        "launcher",
        "logger",
        "checkpoint",
        "eval",
        "sweeper",
        "experiment",
    ],
)
def test_every_group_of_the_interface_has_options(group: str) -> None:
    assert groups()[group]


def test_the_tree_has_the_keys_of_the_schema_and_no_other() -> None:
    tree = compose(["model=llama3_1_8b", "model.init=folder"]).tree
    paths = {dotted(path) for path, _ in walk(tree)}
    assert set(keys()) <= paths
    assert list(tree) == list(Recipe.model_fields)


@pytest.mark.parametrize("file", sorted(CONF.rglob("*.yaml")), ids=lambda file: file.relative_to(CONF).as_posix())
def test_a_shipped_file_passes_the_gate_and_names_no_environment_and_no_path(file: Path) -> None:
    tree = read_yaml(file.read_text(), file.name) if file.read_text().split("\n", 1)[1].strip() != "{}" else {}
    values = [value for _, value in walk(tree) if isinstance(value, str)]
    assert not [value for value in values if "${" in value or re.match(r"[/~]|[a-z]+://", value)]


@pytest.mark.parametrize(("model", "parameters"), PUBLISHED_PARAMETERS.items())
def test_an_open_model_has_its_published_parameter_count(model: str, parameters: int) -> None:
    assert architecture(model).parameters == parameters


def test_nova_tiny_has_about_1_8_million_parameters() -> None:
    assert architecture("nova_tiny").parameters == pytest.approx(1.8e6, rel=0.03)


def test_the_nova_stand_ins_cost_1_to_2_to_7_5_a_token() -> None:
    micro, lite, pro, second = (architecture(f"nova_{size}").flops_per_token(8192) for size in ("micro", "lite", "pro", "2_lite"))
    assert lite / micro == pytest.approx(2, rel=0.03)
    assert pro / micro == pytest.approx(7.5, rel=0.03)
    assert second == lite


@pytest.mark.parametrize("model", ["nova_micro", "nova_lite", "nova_pro"])
def test_a_nova_preset_holds_the_documents_example(model: str) -> None:
    recipe = composed(f"model={model}")
    assert (recipe.train.max_length, recipe.train.global_batch_size, recipe.train.max_epochs) == (8192, 256, 2)
    assert recipe.optim.model_dump() == {
        "name": "distributed_fused_adam",
        "lr": 1e-5,
        "betas": (0.9, 0.999),
        "eps": 1e-6,
        "weight_decay": 0.0,
        "adam_w_mode": True,
    }
    assert recipe.sched.model_dump() == {"name": "cosine", "warmup_steps": 10, "constant_steps": 0, "min_lr": 1e-6}
    assert recipe.model.init is None
    assert "neither its architecture nor its weights" in recipe.model.note


def test_nova_2_lite_holds_the_values_of_its_own_recipe() -> None:
    recipe = composed("model=nova_2_lite")
    assert (recipe.train.max_steps, recipe.train.max_epochs, recipe.train.validate_every) == (10, None, 10)
    assert recipe.optim.betas == (0.9, 0.95)


@pytest.mark.parametrize("nodes", [1, 2, 4, 6, 8, 12, 16, 24, 32])
def test_a_p5_cluster_states_its_hardware(nodes: int) -> None:
    cluster = composed(f"cluster=p5x{nodes}").cluster
    assert (cluster.nodes, cluster.gpus_per_node, cluster.instance_type) == (nodes, 8, "ml.p5.48xlarge")
    assert (cluster.memory_gb, cluster.tflops, cluster.price_per_node_hour) == (80, 989, 55.04)


def test_a_choice_on_the_command_line_wins_over_the_presets() -> None:
    assert composed("model=nova_lite", "train=open").train.max_length == 2048
    assert composed("train=open", "model=nova_lite").train.max_length == 2048
    assert composed("experiment=nova_tiny_base", "train=open", "train.max_steps=7").train.max_length == 2048


def test_a_preset_brings_its_rate_to_any_optimizer_and_schedule() -> None:
    recipe = composed("optim=adamw", "sched=wsd")
    assert (recipe.optim.name, recipe.optim.lr, recipe.sched.name, recipe.sched.min_lr) == ("adamw", 5e-4, "wsd", 1e-6)


def test_the_experiment_makes_the_base_from_prose_and_random_weights() -> None:
    recipe = composed("experiment=nova_tiny_base")
    assert (recipe.model.name, recipe.model.init, recipe.data.train) == ("nova_tiny", "random", "english_prose/train")
    assert list(recipe.data.validation) == ["general", "domain"]


def test_the_default_takes_any_advised_rate() -> None:
    """As docs/recipe.md sweeps it: no preset's own floor stands in the way."""
    found = members(["optim.lr=1e-5,3e-5", "model.hidden_dropout=0,0.1"])
    assert [member.recipe.optim.lr for _, member in found] == [1e-5, 1e-5, 3e-5, 3e-5]
