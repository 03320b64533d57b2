"""`--recipe FILE`: what a run left, or Amazon's own recipe, starts another."""

from __future__ import annotations

from pathlib import Path

import pytest
from swept import members

from cpt.composition import compose, job_yaml
from cpt.errors import RecipeError

AMAZON = """
run:
  name: my-cpt-run
  model_type: amazon.nova-lite-v1:0:300k
  model_name_or_path: nova-lite/prod
  replicas: 4
  data_s3_path: s3://bucket/train.jsonl
  output_s3_path: s3://bucket/out/
training_config:
  max_length: 4096
  global_batch_size: 64
  trainer:
    max_epochs: 1
  model:
    hidden_dropout: 0.1
    attention_dropout: 0.0
    ffn_dropout: 0.0
    optim:
      lr: 1e-5
      name: distributed_fused_adam
      adam_w_mode: true
      eps: 1e-06
      weight_decay: 0.0
      betas: [0.9, 0.999]
      sched: {warmup_steps: 10, constant_steps: 0, min_lr: 1e-6}
"""


def refusal(*overrides: str, recipe_file: Path) -> str:
    with pytest.raises(RecipeError) as error:
        compose(overrides, recipe_file=recipe_file)
    return str(error.value)


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    file = tmp_path / "recipe.yaml"
    file.write_text(job_yaml(compose(["model=nova_lite", "cluster=p5x4", "optim.lr=2e-5", "eval.prompt='no: 1e-5'"])))
    return file


@pytest.mark.parametrize(
    "overrides",
    [
        [],
        ["model=nova_pro", "cluster=p5x24"],
        ["model=llama3_2_1b", "model.init=folder", "data.train=[a.jsonl,b.jsonl]", "logger=[]"],
        ["eval.prompt='yes'", "run.output='1e-5'", "data.options.a={b: [1e-7, null, '~', 'no']}", "run.seed=0"],
        ["experiment=nova_tiny_base"],
    ],
)
@pytest.mark.parametrize("resolved", [False, True])
def test_what_cfg_job_prints_composes_to_the_same_recipe(overrides: list[str], resolved: bool, tmp_path: Path) -> None:
    composed = compose(overrides)
    file = tmp_path / "recipe.yaml"
    file.write_text(job_yaml(composed, resolve=resolved))
    again = compose([], recipe_file=file)
    assert (again.recipe, again.tree) == (composed.recipe, composed.tree)


def test_a_saved_interpolation_stays_one(tmp_path: Path) -> None:
    file = tmp_path / "recipe.yaml"
    file.write_text(job_yaml(compose(["run.output='runs/${model.name}'"])))
    assert compose(["model=nova_lite", "train=nova"], recipe_file=file).recipe.run.output == "runs/nova_lite"


def test_values_are_laid_over_and_a_group_replaces_its_subtree_only(saved: Path) -> None:
    recipe = compose(["optim.weight_decay=0.01", "cluster=local"], recipe_file=saved).recipe
    assert (recipe.optim.lr, recipe.optim.weight_decay) == (2e-5, 0.01)
    assert (recipe.cluster.name, recipe.model.name, recipe.eval.prompt) == ("local", "nova_lite", "no: 1e-5")
    assert compose(["optim=distributed_fused_adam"], recipe_file=saved).recipe.optim.lr == 1e-5


def test_a_file_for_training_leaves_the_saved_sample_behind(saved: Path) -> None:
    data = compose(["data.train=x.jsonl"], recipe_file=saved).recipe.data
    assert (data.source, data.train, data.validation) == ("jsonl", "x.jsonl", None)


def test_a_recipe_file_can_be_swept_over(saved: Path) -> None:
    found = members(["optim.lr=1e-5,2e-5", "cluster=p5x4,p5x8"], recipe_file=saved)
    assert [(c.recipe.optim.lr, c.recipe.cluster.nodes) for _, c in found] == [(1e-5, 4), (1e-5, 8), (2e-5, 4), (2e-5, 8)]


def test_a_file_whose_values_have_the_wrong_shape_is_a_plain_fault(saved: Path) -> None:
    saved.write_text(
        saved.read_text().replace("logger:\n  tensorboard: {}", "logger: null").replace("name: nova_lite", "name: [nova_lite]")
    )
    assert "the logger x is not chosen" in refusal("logger.x.y=1", "optim=adamw", recipe_file=saved)


def test_an_experiment_and_a_file_exclude_each_other(saved: Path) -> None:
    assert "cannot be laid over a recipe file" in refusal("experiment=nova_tiny_base", recipe_file=saved)


def test_a_mistyped_key_in_a_file_gets_did_you_mean(saved: Path) -> None:
    saved.write_text(saved.read_text().replace("max_length:", "max_lenght:"))
    text = refusal(recipe_file=saved)
    assert "train.max_lenght: 8192: is not a key of the recipe. Did you mean train.max_length?" in text
    assert "train.max_length: must be given" in text


@pytest.mark.parametrize(
    ("content", "rule"),
    [
        (None, "No such file"),
        (b"\xff\xfe", "UTF-8"),
        (b"", "a mapping"),
        (b"x" * 2_000_000, "at most 1,000,000 bytes"),
        (b"run: {}\n", "must be given"),
    ],
)
def test_a_file_that_is_no_recipe_is_a_plain_fault(content: bytes | None, rule: str, tmp_path: Path) -> None:
    file = tmp_path / "recipe.yaml"
    if content is not None:
        file.write_bytes(content)
    assert rule in refusal(recipe_file=file)


def test_amazons_recipe_is_laid_over_its_models_preset(tmp_path: Path) -> None:
    file = tmp_path / "nova.yaml"
    file.write_text(AMAZON)
    recipe = compose([], recipe_file=file).recipe
    assert (recipe.model.name, recipe.model.hidden_dropout, recipe.cluster.name) == ("nova_lite", 0.1, "p5x4")
    assert (recipe.train.max_length, recipe.train.global_batch_size, recipe.train.max_epochs) == (4096, 64, 1)
    assert (recipe.data.source, recipe.data.train, recipe.data.validation) == ("jsonl", "s3://bucket/train.jsonl", None)
    assert recipe.run.output == "s3://bucket/out/"


def test_overrides_are_laid_over_amazons_recipe_too(tmp_path: Path) -> None:
    file = tmp_path / "nova.yaml"
    file.write_text(AMAZON)
    recipe = compose(["cluster=local", "optim.lr=2e-5", "data.train=x.jsonl"], recipe_file=file).recipe
    assert (recipe.cluster.name, recipe.optim.lr, recipe.data.train, recipe.model.name) == ("local", 2e-5, "x.jsonl", "nova_lite")
    assert "Did you mean optim.lr?" in refusal("optim.lrr=1", recipe_file=file)
