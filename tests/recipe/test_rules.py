"""Every limit of Amazon's document and every rule between keys: refused with the cure, and no stricter than said."""

from __future__ import annotations

import pytest

from cpt.recipe.build import build

NOVA = [("nova_micro", "p5x8"), ("nova_lite", "p5x16"), ("nova_pro", "p5x24"), ("nova_2_lite", "p5x8")]
ALLOWED_NODES = {"nova_micro": [2, 4, 8], "nova_lite": [4, 8, 16, 32], "nova_pro": [6, 12, 24], "nova_2_lite": [4, 8, 16, 32]}
CLUSTERS = [2, 4, 6, 8, 12, 16, 24, 32]
BOUNDS = [
    ("train.global_batch_size", [32, 64, 128, 256], [0, 1, 31, 100, 512, -32]),
    ("train.max_length", [2, 4096, 8192], [0, -1, 1, 8193, 131072]),
    ("train.max_epochs", [1, 2, 100], [0, -1, 101]),
    ("model.hidden_dropout", [0, 0.1, 1.0], [-0.1, 1.01, 1.5]),
    ("model.attention_dropout", [0.0, 1], [-1, 2]),
    ("model.ffn_dropout", [0.0, 1], [-1, 2]),
    ("optim.lr", [2e-6, 1e-4, 1.0], [-1e-5, 1.1, 5]),
    ("optim.weight_decay", [0, 0.1, 1], [-0.1, 1.1]),
    ("optim.betas", [[0.0, 0.999], [0.9, 0.0]], [[0.9, 1.0], [-0.1, 0.9], [0.9, 2]]),
    ("optim.eps", [1e-12, 1e-6, 1], [0, -1e-6, 2]),
    ("optim.name", ["distributed_fused_adam"], ["adamw", "sgd"]),
    ("sched.warmup_steps", [1, 10, 20], [0, -1, 21, 1000]),
    ("sched.constant_steps", [0, 5], [-1]),
    ("sched.min_lr", [0, 9e-6], [-1e-6, 1e-5, 2]),
]


def changed(tree, overrides: tuple[str, ...], key: str, value: object):
    return tree(*overrides, **{key.replace(".", "__"): value})


@pytest.mark.parametrize(("model", "cluster"), NOVA)
@pytest.mark.parametrize(("key", "kept", "broken"), BOUNDS, ids=[key for key, *_ in BOUNDS])
def test_amazons_limits_bind_amazons_models(tree, faults, model: str, cluster: str, key: str, kept: list, broken: list) -> None:
    overrides = (f"model={model}", f"cluster={cluster}")
    for value in kept:
        assert faults(changed(tree, overrides, key, value)) == {}
    for value in broken:
        assert key in faults(changed(tree, overrides, key, value)), value


@pytest.mark.parametrize(("model", "cluster"), NOVA)
def test_a_model_trains_on_its_numbers_of_p5_nodes_and_no_other(tree, faults, model: str, cluster: str) -> None:
    for nodes in CLUSTERS:
        found = faults(tree(f"model={model}", f"cluster={cluster}", cluster__nodes=nodes))
        assert set(found) == (set() if nodes in ALLOWED_NODES[model] else {"cluster.nodes"})
        if found:
            assert all(f"p5x{allowed}" in found["cluster.nodes"].cure for allowed in ALLOWED_NODES[model])


def test_the_interfaces_example_reads_as_promised(tree, faults) -> None:
    found = faults(tree("model=nova_pro", "cluster=p5x24", cluster__nodes=7, optim__lr=3.0))
    assert [str(fault) for fault in found.values()] == [
        "cluster.nodes: 7: Amazon Nova Pro trains on 6, 12 or 24 nodes. Use cluster=p5x6, p5x12 or p5x24.",
        "optim.lr: 3.0: must lie in [0, 1]; 1e-6 to 1e-4 is advised.",
    ]


def test_the_numbers_of_nodes_bind_on_p5_clusters_only(tree, faults) -> None:
    assert faults(tree("model=nova_pro", "cluster=local")) == {}
    other = tree("model=nova_pro", "cluster=p5x24", cluster__nodes=7, cluster__name="mine", cluster__instance_type=None)
    assert faults(other) == {}


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("train.global_batch_size", 7),
        ("sched.warmup_steps", 0),
        ("sched.warmup_steps", 2000),
        ("optim.name", "adamw"),
        ("train.max_length", 100_000),
    ],
)
def test_open_models_have_wider_limits(tree, faults, key: str, value: object) -> None:
    assert faults(changed(tree, ("model=llama3_2_1b", "model.init=folder"), key, value)) == {}


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("train.global_batch_size", 0),
        ("train.max_length", 1),
        ("train.max_steps", 0),
        ("train.micro_batch_size", 0),
        ("train.clip_norm", 0),
        ("train.validate_every", 0),
        ("train.log_every", 0),
        ("checkpoint.every", 0),
        ("checkpoint.keep", -1),
        ("eval.max_tokens", -1),
        ("cluster.processes", 0),
        ("sched.warmup_steps", -1),
        ("optim.betas", [0.9, 1.0]),
        ("data.source", "../x"),
        ("data.source", "a/b"),
        ("launcher.name", "os.system(1)"),
        ("cluster.memory_gb", 0),
    ],
)
def test_open_models_have_limits_too(tree, faults, key: str, value: object) -> None:
    assert list(faults(changed(tree, (), key, value))) == [key]


@pytest.mark.parametrize(
    ("overrides", "warning"),
    [
        (("model=nova_lite", "optim.lr=1e-3"), "optim.lr: 0.001: 1e-6 to 1e-4 is advised"),
        (("model=nova_lite", "model.hidden_dropout=0.5"), "model.hidden_dropout: 0.5: 0 to 0.2 is advised"),
        (("optim.weight_decay=0.5",), "optim.weight_decay: 0.5: 0 to 0.1 is advised"),
        (("model=smollm2_135m", "model.init=folder", "optim.lr=1e-2"), "optim.lr: 0.01: 1e-6 to 1e-3 is advised"),
        (("train.max_steps=5",), "sched.warmup_steps: 10: optim.lr is never reached in 5 steps"),
    ],
)
def test_values_that_are_allowed_and_not_advised_are_warned_of(tree, overrides: tuple[str, ...], warning: str) -> None:
    assert build(tree(*overrides))[1] == (warning,)


@pytest.mark.parametrize(
    "overrides", [(), ("model=nova_pro", "cluster=p5x24"), ("model=smollm2_135m", "model.init=x"), ("experiment=nova_tiny_base",)]
)
def test_presets_give_no_warning(tree, overrides: tuple[str, ...]) -> None:
    assert build(tree(*overrides))[1] == ()


def test_min_lr_must_be_below_lr(tree, faults) -> None:
    found = faults(tree(optim__lr=1e-5, sched__min_lr=1e-5))
    assert str(found["sched.min_lr"]) == "sched.min_lr: 1e-05: must be less than optim.lr, 1e-05. Use sched.min_lr=1e-06 or less."


def test_amazons_type_belongs_to_its_preset(tree, faults) -> None:
    found = faults(tree("model=nova_pro", model__type="amazon.nova-lite-v1:0:300k"))
    assert found["model.type"].cure == "Use model=nova_lite"
    assert set(faults(tree("model=nova_pro", model__type=None, train__max_length=9000))) == {"model.type", "train.max_length"}
    assert set(faults(tree(model__type="amazon.nova-pro-v1:0:300k"))) == {"model.type"}
    assert set(faults(tree("model=smollm2_135m", "model.init=x", model__type="amazon.nova-huge"))) == {"model.type"}


def test_a_users_preset_of_an_amazon_type_has_that_types_limits(tree, faults) -> None:
    own = tree("model=nova_lite", model__name="my_lite")
    assert faults(own) == {}
    own["train"]["global_batch_size"] = 100
    assert set(faults(own)) == {"train.global_batch_size"}


@pytest.mark.parametrize(
    ("overrides", "init", "says"),
    [
        (("model=smollm2_135m", "model.init=x"), None, "Give model.init=FOLDER"),
        (("model=smollm2_135m", "model.init=x"), "base", "only nova_tiny ships weights"),
        (("model=nova_lite",), "base", "only nova_tiny ships weights"),
        (("model=auto", "model.init=x"), "random", "read from a base model"),
        (("model=auto", "model.init=x"), None, "read from a base model"),
        (("model=nova_lite",), "nova-lite/prod", "Use model.init=random or null"),
        (("model=nova_lite",), "nova-pro/prod", "starts from nova-lite/prod"),
        (("model=nova_2_lite",), "nova-lite-2/pretraining-text-RD", "does not publish these weights"),
        ((), "nova-lite/prod", "does not publish these weights"),
        (("model=nova_lite",), "", "must name a path or URL"),
    ],
)
def test_weights_that_cannot_be_had_are_refused_with_what_can(
    tree, faults, overrides: tuple[str, ...], init: str | None, says: str
) -> None:
    found = faults(tree(*overrides, model__init=init))
    assert list(found) == ["model.init"]
    assert says in str(found["model.init"])


@pytest.mark.parametrize("init", ["random", "org/name", "s3://bucket/run", "../folder", "nova-lite/production", None])
def test_amazons_presets_start_from_anything_that_can_be_had(tree, faults, init: str | None) -> None:
    assert faults(tree("model=nova_lite", model__init=init)) == {}


def test_a_sequence_fits_the_models_positions(tree, faults) -> None:
    assert faults(tree(train__max_length=2048)) == {}
    assert faults(tree(train__max_length=2049))["train.max_length"].cure == "Use 2048 or less"


def test_heads_and_widths_fit(tree, faults) -> None:
    found = faults(tree(model__architecture__kv_heads=4, model__architecture__head_width=31))
    assert set(found) == {"model.architecture.kv_heads", "model.architecture.head_width"}


def test_a_run_has_an_end(tree, faults) -> None:
    assert list(faults(tree(train__max_steps=None, train__max_epochs=None))) == ["train.max_steps"]


def test_masked_lm_is_refused_with_the_reason(tree, faults) -> None:
    assert "encoders" in faults(tree(train__objective="mlm"))["train.objective"].rule


@pytest.mark.parametrize(
    ("overrides", "sizes", "faulted"),
    [
        (("cluster=p5x2",), {"dp_replicate": 2, "dp_shard": 8}, None),
        (("cluster=p5x2",), {"dp_shard": 8}, None),
        (("cluster=p5x2",), {"dp_replicate": 2}, None),
        (("cluster=p5x2",), {"dp_shard": 3}, "parallel"),
        (("cluster=p5x2",), {"dp_replicate": 2, "dp_shard": 4}, "parallel"),
        (("cluster.processes=4",), {"dp_replicate": 2, "dp_shard": 2}, None),
        (("cluster.processes=4",), {"dp_shard": 8}, "parallel"),
        ((), {"dp_shard": 8}, None),
        (("cluster=p5x2",), {"cp": 1, "tp": 1}, None),
        (("cluster=p5x2",), {"cp": 2}, "parallel.cp"),
        (("cluster=p5x2",), {"tp": 8}, "parallel.tp"),
        (("cluster=p5x2",), {"dp_shard": 0}, "parallel.dp_shard"),
    ],
)
def test_the_mesh_is_as_large_as_the_cluster(tree, faults, overrides: tuple[str, ...], sizes: dict[str, int], faulted: str | None) -> None:
    found = faults(tree("model=nova_tiny", *overrides, **{f"parallel__{axis}": size for axis, size in sizes.items()}))
    assert list(found) == ([faulted] if faulted else [])


def test_processes_are_for_this_machine(tree, faults) -> None:
    assert list(faults(tree("cluster=p5x2", cluster__processes=2))) == ["cluster.processes"]
    assert list(faults(tree(cluster__nodes=2, cluster__processes=2))) == []
    assert list(faults(tree(cluster__nodes=2, cluster__processes=2, parallel__dp_shard=3))) == ["parallel"]
    assert list(faults(tree("cluster=p5x2", cluster__gpus_per_node=None))) == ["cluster.gpus_per_node"]


@pytest.mark.parametrize("name", [None, "a", "my-run-2", "0" * 34])
def test_a_run_name_is_legal_for_amazon(tree, faults, name: str | None) -> None:
    assert faults(tree(run__name=name)) == {}


@pytest.mark.parametrize("name", ["", "A", "../x", "a/b", "-a", "a-", "a_b", "a.b", "..", "x" * 35, "a\n", "ä", "a b"])
def test_a_run_name_cannot_leave_its_folder(tree, faults, name: str) -> None:
    assert list(faults(tree(run__name=name))) == ["run.name"]


def test_a_tokenizer_file_and_training_data_are_named(tree, faults) -> None:
    assert list(faults(tree(tokenizer__name="file"))) == ["tokenizer.path"]
    assert list(faults(tree(tokenizer__name="bytes", tokenizer__path="x"))) == ["tokenizer.path"]
    assert list(faults(tree(data__train=None))) == ["data.train"]
    assert faults(tree(data__train=None, data__source="my_database")) == {}


def test_sets_and_loggers_are_named_plainly(tree, faults) -> None:
    found = faults(tree(logger={"tensorboard": {}, "../x": {}}, data__validation={"a b": "x.jsonl"}))
    assert set(found) == {"logger.../x", "data.validation.a b"}
    assert list(faults(tree(data__validation={}))) == ["data.validation"]


@pytest.mark.parametrize(
    ("amazon", "faulted", "says"),
    [
        ({"run": {"mlflow_tracking_uri": "", "mlflow_run_name": "a", "source": "x"}, "data_mixing": {"sources": {"a": 1}}}, None, ""),
        ({"run": {"mlflow_run_name": ""}}, "amazon.run.mlflow_run_name", "must not be empty"),
        ({"run": {"mlflow_uri": "a"}}, "amazon.run.mlflow_uri", "Did you mean run.mlflow_"),
        ({"training_config": {"max_length": 4}}, "amazon.training_config.max_length", "Use train.max_length"),
        ({"x": 1}, "amazon.x", "Remove it"),
        ({"run": 3}, "amazon.run", "is not a key"),
    ],
)
def test_amazons_keys_are_a_closed_list(tree, faults, amazon: dict, faulted: str | None, says: str) -> None:
    found = faults(tree("model=nova_lite", amazon=amazon))
    assert list(found) == ([faulted] if faulted else [])
    assert all(says in str(fault) for fault in found.values())


@pytest.mark.parametrize(
    ("validation", "metric", "measured"),
    [
        ({"domain": "a.jsonl", "general": "b.jsonl"}, "validation/general/loss", True),
        ({"domain": "a.jsonl", "general": "b.jsonl"}, "validation/generl/loss", False),
        ({"domain": "a.jsonl"}, "train/loss", True),
        ({"domain": "a.jsonl"}, "train/lr", False),
        (None, "validation/held_out/loss", True),
        ("a.jsonl", "validation/validation/loss", True),
        ("a.jsonl", "validation/domain/loss", False),
    ],
)
def test_members_are_compared_by_a_loss_that_is_measured(tree, faults, validation: object, metric: str, measured: bool) -> None:
    found = faults(tree(data__validation=validation, sweeper__metric=metric))
    assert list(found) == ([] if measured else ["sweeper.metric"])


def test_null_breaks_no_rule_that_the_schema_allows(tree, faults) -> None:
    nothing = {f"train__{key}": None for key in ("max_epochs", "clip_norm", "validate_every")}
    assert faults(tree(**nothing, cluster__processes=None, data__validation=None, data__store=None)) == {}


def test_an_open_model_keeps_what_an_amazon_recipe_brought(tree, faults) -> None:
    carried = {"run": {"mlflow_tracking_uri": "x"}, "training_config": {"trainer": {"limit_val_batches": 2, "val_check_interval": 0.5}}}
    assert faults(tree(amazon=carried)) == {}
    assert len(faults(tree("model=nova_lite", amazon=carried))) == 2
