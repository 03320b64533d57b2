"""Amazon's recipes go in and out without loss, or are refused by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from cpt.composition import compose
from cpt.errors import RecipeError
from cpt.recipe.amazon import from_amazon, is_amazon, render, to_amazon
from cpt.recipe.amazon_layout import descriptive, layout, put
from cpt.recipe.build import keys

Tree = dict[str, Any]
S3 = ["data.train=s3://bucket/train.jsonl", "run.output=s3://bucket/output"]
PRESETS = [("nova_micro", "p5x8", "micro"), ("nova_lite", "p5x16", "lite"), ("nova_pro", "p5x24", "pro"), ("nova_2_lite", "p5x8", "lite-2")]

DOCUMENT = """
## Run config
run:
  name: "my-cpt-run"             # A descriptive name for your training job
  model_type: "amazon.nova-lite-v1:0:300k"  # Model variant specification, do not change
  model_name_or_path: "nova-lite/prod"      # Base model path, do not change
  replicas: 4                    # allowed values are 4, 8, 16
  data_s3_path: [S3_PATH_TO_TRAIN_DATASET]
  validation_data_s3_path: (OPTIONAL)[S3_PATH_TO_VALIDATION_DATASET]
  output_s3_path: [S3_PATH_TO_STORE_MANIFEST]
training_config:
  max_length: 8192
  global_batch_size: 256
  trainer:
    max_epochs: 2
  model:
    hidden_dropout: 0.0
    attention_dropout: 0.0
    ffn_dropout: 0.0
    optim:
      lr: 1e-5
      name: distributed_fused_adam
      adam_w_mode: true
      eps: 1e-06
      weight_decay: 0.0
      betas:
        - 0.9
        - 0.999
      sched:
        warmup_steps: 10
        constant_steps: 0
        min_lr: 1e-6
"""


def refusal(call: Callable[[], object]) -> dict[str, str]:
    with pytest.raises(RecipeError) as error:
        call()
    return {fault.where: str(fault) for fault in error.value.faults}


def test_the_documents_own_example_imports_once_its_placeholders_are_filled(imported) -> None:
    assert set(refusal(lambda: imported(DOCUMENT))) == {"data.train", "run.output"}
    recipe = imported(DOCUMENT, *S3).recipe
    assert (recipe.model.name, recipe.model.init, recipe.cluster.name, recipe.cluster.nodes) == ("nova_lite", None, "p5x4", 4)
    assert (recipe.data.source, recipe.data.validation, recipe.train.max_epochs, recipe.optim.lr) == ("jsonl", None, 2, 1e-5)
    assert recipe.optim.betas == (0.9, 0.999)


def test_nova_2s_keys_find_their_places(imported, nova_2) -> None:
    recipe = imported(nova_2()).recipe
    assert (recipe.model.name, recipe.train.max_steps, recipe.train.max_epochs, recipe.train.validate_every) == (
        "nova_2_lite",
        100,
        None,
        10,
    )
    assert recipe.optim.betas == (0.9, 0.95)
    assert recipe.amazon == {"training_config": {"trainer": {"limit_val_batches": 2}}}


def test_amazons_recipes_are_recognised_by_their_keys(nova_1, nova_2, tree) -> None:
    assert is_amazon(nova_1())
    assert is_amazon(nova_2())
    assert is_amazon({"run": {"model_type": "x"}})
    assert not is_amazon(tree())
    assert not is_amazon({"run": None})


def test_keys_without_counterpart_are_carried(imported, nova_1) -> None:
    amazons = nova_1()
    amazons["run"] |= {"mlflow_tracking_uri": "arn:aws:x", "mlflow_experiment_name": "e", "mlflow_run_name": "r", "source": "sdk"}
    amazons["training_config"]["enable_batch_sample_tracing"] = True
    amazons |= {"display_name": "n", "versions": ["1", "2"], "data_mixing": {"sources": {"customer_data": {"percent": 25}}}}
    recipe = imported(amazons).recipe
    assert recipe.amazon["run"]["mlflow_tracking_uri"] == "arn:aws:x"
    assert to_amazon(recipe) == amazons


@pytest.mark.parametrize(
    ("key", "value", "where", "says"),
    [
        (
            "training_config.trainer.max_epoch",
            1,
            "amazon.training_config.trainer.max_epoch",
            "Did you mean training_config.trainer.max_epochs?",
        ),
        ("training_config.optim.lr", 1e-5, "amazon.training_config.optim.lr", "Did you mean training_config.model.optim.lr?"),
        ("training_config.trainer.max_steps", 5, "amazon.training_config.trainer.max_steps", "Did you mean"),
        ("training_config.trainer.val_check_interval", 0.5, "amazon.training_config.trainer.val_check_interval", "is not a key"),
        ("run.mlflow_run_name", "", "amazon.run.mlflow_run_name", "must not be empty"),
        ("nonsense", {"a": 1}, "amazon.nonsense.a", "Remove it"),
    ],
)
def test_keys_on_no_list_are_refused_with_the_nearest(imported, nova_1, key: str, value: object, where: str, says: str) -> None:
    amazons = nova_1()
    put(amazons, key, value)
    found = refusal(lambda: imported(amazons))
    assert list(found) == [where]
    assert says in found[where]


@pytest.mark.parametrize(("key", "value"), [("training_config.task_type", "sft"), ("training_config.optim.optimizer", "sgd")])
def test_what_is_no_continued_pre_training_is_refused(imported, nova_2, key: str, value: str) -> None:
    amazons = nova_2()
    put(amazons, key, value)
    assert list(refusal(lambda: imported(amazons))) == [f"amazon.{key}"]


@pytest.mark.parametrize(
    ("type_", "says"), [(None, "must be one of"), ("amazon.nova-lite-v1:0:30k", "Did you mean amazon.nova-lite-v1:0:300k?"), (3, "must be")]
)
def test_an_unknown_model_type_is_refused_with_the_file(nova_1, type_: object, says: str) -> None:
    amazons = nova_1()
    amazons["run"]["model_type"] = type_
    assert says in refusal(lambda: from_amazon(amazons, "x.yaml"))["x.yaml: run.model_type"]


@pytest.mark.parametrize(
    "amazons",
    [{"training_config": 3}, {"run": None, "training_config": {}}, {"run": {"model_type": []}}, {"run": [], "training_config": {"a.b": 1}}],
)
def test_misshapen_recipes_are_refused_and_crash_nothing(amazons: Tree) -> None:
    assert refusal(lambda: from_amazon(amazons, "x.yaml"))


def test_misshapen_groups_are_refused_by_name(imported, nova_1) -> None:
    amazons = nova_1()
    amazons["training_config"]["model"] = 3
    assert list(refusal(lambda: imported(amazons))) == ["amazon.training_config.model"]
    amazons["a.b"] = 1
    assert "x: a.b" in refusal(lambda: from_amazon(amazons, "x"))


def test_overrides_on_the_import_line_win(imported, nova_1) -> None:
    recipe = imported(nova_1(), "cluster=local", "optim.lr=2e-5", "run.name=other").recipe
    assert (recipe.cluster.name, recipe.cluster.nodes, recipe.optim.lr, recipe.run.name) == ("local", 1, 2e-5, "other")


@pytest.mark.parametrize(
    ("key", "value", "where"),
    [
        ("run.data_s3_path", "", "data.train"),
        ("run.output_s3_path", "", "run.output"),
        ("run.replicas", 7, "cluster.nodes"),
        ("training_config.global_batch_size", 100, "train.global_batch_size"),
        ("training_config.model.optim.lr", 5, "optim.lr"),
        ("training_config.model.optim.sched.min_lr", 1e-3, "sched.min_lr"),
        ("training_config.model.optim.sched.warmup_steps", 1000, "sched.warmup_steps"),
        ("training_config.max_length", 131072, "train.max_length"),
        ("training_config.trainer.max_epochs", 0, "train.max_epochs"),
        ("training_config.model.optim.sched.warmup_step", 10, "amazon.training_config.model.optim.sched.warmup_step"),
        ("run.model_type", "amazon.nova-lite-v1:0:300k", "model.init"),
        ("training_config.model.optim.name", "sgd", "optim.name"),
        ("training_config.global_batch_size", 0, "train.global_batch_size"),
        ("training_config.max_length", 0, "train.max_length"),
        ("training_config.model.hidden_dropout", 1.5, "model.hidden_dropout"),
        ("training_config.trainer.max_epochs", -1, "train.max_epochs"),
    ],
)
def test_nonsense_that_amazons_launcher_takes_is_refused_here(imported, nova_1, key: str, value: object, where: str) -> None:
    """The eleven recipes that Amazon's launcher was seen to take, and the four that it was not."""
    replicas = 8 if key == "run.model_type" else 24
    amazons = nova_1("pro", replicas)
    put(amazons, key, value)
    found = refusal(lambda: imported(amazons))
    assert list(found) == [where]


def test_all_nonsense_at_once_gives_all_faults_at_once(imported, nova_1) -> None:
    amazons = nova_1("pro", 7)
    for key, value in {"global_batch_size": 100, "max_length": 131072, "typo": 1}.items():
        amazons["training_config"][key] = value
    assert set(refusal(lambda: imported(amazons))) == {
        "cluster.nodes",
        "train.global_batch_size",
        "train.max_length",
        "amazon.training_config.typo",
    }


@pytest.mark.parametrize(("model", "cluster", "base"), PRESETS)
def test_a_plain_preset_exports_with_amazons_base(model: str, cluster: str, base: str) -> None:
    out = to_amazon(compose([f"model={model}", f"cluster={cluster}", *S3]).recipe)
    assert out["run"]["model_name_or_path"] == f"nova-{base}/prod"
    assert out["run"]["replicas"] == int(cluster.removeprefix("p5x"))
    assert out["run"]["name"].startswith(model.replace("_", "-"))
    assert len(out["run"]["name"]) <= 34


def test_nova_1s_file_has_amazons_keys_in_amazons_order(nova_1) -> None:
    out = to_amazon(compose(["model=nova_lite", "cluster=p5x4", "run.name=my-cpt-run", *S3]).recipe)
    assert out == nova_1()
    assert render(out) == render(nova_1())


DEPARTURES = {
    "nova_lite": """
        run.seed=1 train.precision=fp32 train.clip_norm=0.5 train.micro_batch_size=1 train.max_steps=9 train.validate_every=5
        train.log_every=2 sched=constant sched=wsd checkpoint.every=9 checkpoint.keep=1 parallel.dp_shard=8 tokenizer=bytes
        tokenizer.bos=true eval.prompt=x eval.max_tokens=1 data.store=x data.options.a=1 data.source=other logger=[]
        model.architecture.layers=2 model.init=random model.init=folder model.init=s3://b/manifest.json data.train=[s3://b/a.jsonl]
        data.train=a.jsonl data.train=s3://b/*.jsonl data.train=s3://b/a.json data.validation=a.jsonl
        data.validation={a:s3://b/a.jsonl} run.output=outputs run.output=gs://b/o cluster.gpus_per_node=4""",
    "nova_2_lite": "model.ffn_dropout=0.1 train.max_epochs=1 sched=wsd train.precision=fp32",
}


@pytest.mark.parametrize(("model", "change"), [(model, change) for model, changes in DEPARTURES.items() for change in changes.split()])
def test_what_amazon_cannot_say_is_refused_by_name(model: str, change: str) -> None:
    key = {"sched": "sched.name", "tokenizer": "tokenizer.name"}.get(change.partition("=")[0], change.partition("=")[0])
    recipe = compose([f"model={model}", "cluster=p5x8", "data=jsonl", *S3, change.replace("a:s3", "a: s3")]).recipe
    found = refusal(lambda: to_amazon(recipe))
    assert len(found) == 1, found
    assert key.startswith(*found)


def test_every_departure_is_named_at_once() -> None:
    recipe = compose(["model=nova_lite", "train.precision=fp32", "run.seed=3"]).recipe
    assert set(refusal(lambda: to_amazon(recipe))) == {
        "train.precision",
        "run.seed",
        "data.source",
        "data.train",
        "data.validation",
        "run.output",
        "cluster.name",
    }


@pytest.mark.parametrize("overrides", [[], ["model=smollm2_135m", "model.init=x"]])
def test_an_open_model_is_not_amazons(overrides: list[str]) -> None:
    assert list(refusal(lambda: to_amazon(compose(overrides).recipe))) == ["model.name"]


def test_who_starts_the_processes_is_no_departure() -> None:
    to_amazon(compose(["model=nova_lite", "cluster=p5x4", "launcher=local", *S3]).recipe)


@pytest.mark.parametrize("name", ["nova_1", "nova_2"])
def test_every_key_of_ours_has_a_counterpart_or_a_neutral_value_or_says_nothing(name: Any) -> None:
    known = {ours.rsplit(".", 1)[0] if ours[-1].isdigit() else ours for ours in layout(name).ours.values()}
    accounted = known | set(layout(name).neutral) | descriptive()
    assert {key for key in keys() if not any(key == known or key.startswith(f"{known}.") for known in accounted)} == set()
