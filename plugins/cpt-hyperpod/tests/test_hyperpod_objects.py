"""What is rendered is what Amazon's own launcher renders, field by field, and the files are golden."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from omegaconf import OmegaConf

from cpt.contracts import Task
from cpt.errors import RecipeError
from cpt.recipe.gate import read_yaml
from cpt_hyperpod import HyperpodLauncher

GOLDEN = Path(__file__).with_name("golden")
SCHEMAS = Path(__file__).parents[2] / "cpt-kubernetes" / "tests" / "schema"
"""Kubeflow's and Kubernetes' published schemas, strict; a test file of the neighbour."""
PRESETS = {"nova_micro": "p5x8", "nova_lite": "p5x16", "nova_pro": "p5x24", "nova_2_lite": "p5x8"}
TYPES = {
    "nova_micro": "amazon.nova-micro-v1:0:128k",
    "nova_lite": "amazon.nova-lite-v1:0:300k",
    "nova_pro": "amazon.nova-pro-v1:0:300k",
    "nova_2_lite": "amazon.nova-2-lite-v1:0:256k",
}
Rendered = Callable[..., dict[str, Any]]


@pytest.fixture
def rendered(nova_task: Callable[..., Task], launcher: Callable[..., HyperpodLauncher]) -> Rendered:
    """The objects of a recipe, by kind, and what its ConfigMap holds as `config`."""

    def make(*overrides: str, name: str = "my-run", **options: object) -> dict[str, Any]:
        text = launcher(**options).render(nova_task(*overrides, name=name))["pytorchjob.yaml"]
        objects = {tree["kind"]: tree for tree in yaml.safe_load_all(text)}
        return {**objects, "config": yaml.safe_load(objects["ConfigMap"]["data"]["config.yaml"])}

    return make


def pods(objects: dict[str, Any]) -> list[dict[str, Any]]:
    """The pod of each role."""
    return [replica["template"]["spec"] for replica in objects["PyTorchJob"]["spec"]["pytorchReplicaSpecs"].values()]


@pytest.mark.parametrize("preset", PRESETS)
def test_the_files_are_the_golden_ones(preset: str, nova_task: Callable[..., Task], launcher: Callable[..., HyperpodLauncher]) -> None:
    """WRITE_GOLDEN=1 writes them anew; look at the difference."""
    overrides = (f"model={preset}", f"cluster={PRESETS[preset]}", "data.validation=s3://data/validation.jsonl")
    files = launcher().render(nova_task(*overrides, name=preset.replace("_", "-")))
    folder = GOLDEN / preset
    if os.environ.get("WRITE_GOLDEN"):
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            (folder / name).write_text(text)
    assert dict(files) == {path.name: path.read_text() for path in folder.iterdir()}


@pytest.mark.skipif(not SCHEMAS.is_dir(), reason="the schemas stand in the repository, beside cpt-kubernetes")
def test_the_job_fits_the_published_schemas(rendered: Rendered) -> None:
    jsonschema = pytest.importorskip("jsonschema")
    schema = yaml.safe_load((SCHEMAS / "pytorchjob.yaml").read_text()) | json.loads((SCHEMAS / "pod_template.json").read_text())
    job = rendered(labels={"a": "b"}, service_account="me", priority_class="high", instance_group="g")["PyTorchJob"]
    jsonschema.validate(job, schema)
    job["spec"]["pytorchReplicaSpecs"]["Worker"]["template"]["spec"]["containers"][0]["volumeMount"] = []
    with pytest.raises(jsonschema.ValidationError, match="volumeMount"):
        jsonschema.validate(job, schema)


def test_numbers_are_numbers_to_every_reader(rendered: Rendered) -> None:
    text = rendered()["ConfigMap"]["data"]["config.yaml"]
    assert "lr: 1.0e-05" in text
    for tree in (yaml.safe_load(text), read_yaml(text, "config.yaml"), OmegaConf.to_container(OmegaConf.create(text))):
        optim = tree["training_config"]["model"]["optim"]
        assert (optim["lr"], optim["eps"], optim["sched"]["min_lr"]) == (1e-5, 1e-6, 1e-6)


@pytest.mark.parametrize("preset", PRESETS)
def test_the_model_type_is_quoted_and_replicas_is_a_number(rendered: Rendered, preset: str) -> None:
    objects = rendered(f"model={preset}", f"cluster={PRESETS[preset]}")
    assert f'model_type: "{TYPES[preset]}"' in objects["ConfigMap"]["data"]["config.yaml"]
    assert objects["config"]["run"]["replicas"] == int(PRESETS[preset].removeprefix("p5x"))


def test_names_for_mlflow_are_carried_and_never_empty(rendered: Rendered) -> None:
    uri, name = "+amazon.run.mlflow_tracking_uri=arn:aws:sagemaker:x", "+amazon.run.mlflow_experiment_name"
    assert rendered(uri, f"{name}=e")["config"]["run"]["mlflow_experiment_name"] == "e"
    with pytest.raises(RecipeError, match="must not be empty"):
        rendered(uri, f"{name}=''")


@pytest.mark.parametrize("name", ["a", "my-run", "x" * 34, "x" * 50, f"{'x' * 33}-{'y' * 10}"])
def test_the_jobs_name_is_legal_and_is_the_engines_run_name(rendered: Rendered, name: str) -> None:
    objects = rendered(name=name)
    job = objects["PyTorchJob"]["metadata"]["name"]
    assert re.fullmatch(r"[a-z0-9](-?[a-z0-9])*-[a-z0-9]{5}", job)
    assert len(job) <= 34 + 1 + 5
    assert job.startswith(name[:33])
    assert objects["config"]["run"]["name"] == job
    assert objects["ConfigMap"]["metadata"]["name"] == f"training-config-{job}"


def test_another_recipe_of_the_same_name_is_another_job(rendered: Rendered) -> None:
    first, second = (rendered(f"optim.lr={rate}")["PyTorchJob"]["metadata"]["name"] for rate in ("1e-5", "2e-5"))
    assert first != second


@pytest.mark.parametrize("instance_type", [None, "p5.48xlarge", "ml.p5.48xlarge"])
def test_instance_types_are_spelled_in_one_way(rendered: Rendered, instance_type: str | None) -> None:
    [pod, _] = pods(rendered(instance_type=instance_type))
    assert {"name": "INSTANCE_TYPE", "value": "ml.p5.48xlarge"} in pod["containers"][0]["env"]


def test_nova_1_has_its_layout(rendered: Rendered) -> None:
    config = rendered("data.validation=s3://data/v.jsonl")["config"]
    assert config["run"]["validation_data_s3_path"] == "s3://data/v.jsonl"
    training = config["training_config"]
    assert set(training) == {"max_length", "global_batch_size", "trainer", "model"}
    assert training["trainer"] == {"max_epochs": 2}
    assert training["model"]["optim"]["betas"] == [0.9, 0.999]
    assert "ffn_dropout" in training["model"]


def test_nova_2_has_its_layout(rendered: Rendered) -> None:
    training = rendered("model=nova_2_lite", "cluster=p5x8")["config"]["training_config"]
    assert (training["task_type"], training["trainer"]["max_steps"]) == ("cpt", 10)
    assert set(training["model"]) == {"hidden_dropout", "attention_dropout"}
    assert (training["optim"]["adam_beta1"], training["optim"]["adam_beta2"]) == (0.9, 0.95)


@pytest.mark.parametrize(("instance_type", "efa"), [("p5.48xlarge", 32), ("p5e.48xlarge", 32), ("p5en.48xlarge", 16)])
def test_gpus_and_network_interfaces_are_the_instances(rendered: Rendered, instance_type: str, efa: int) -> None:
    for pod in pods(rendered(instance_type=instance_type)):
        wanted = {"nvidia.com/gpu": 8, "vpc.amazonaws.com/efa": efa}
        assert pod["containers"][0]["resources"] == {"limits": wanted, "requests": wanted}


def test_a_pod_is_what_amazons_engine_needs(rendered: Rendered) -> None:
    for pod in pods(rendered()):
        assert pod["tolerations"] == [
            {"key": "sagemaker.amazonaws.com/RestrictedNode", "operator": "Equal", "value": "Worker", "effect": "NoSchedule"}
        ]
        [container], [init] = pod["containers"], pod["initContainers"]
        assert (container["name"], init["name"]) == ("pytorch", "init-container")
        assert container["securityContext"] == {"capabilities": {"add": ["IPC_LOCK"]}}
        assert {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]} == {
            "fsx-path-main": "/sagemaker/fsx/main",
            "fsx-path-output-artifacts": "/sagemaker/fsx/output_artifacts",
            "logs": "/var/log/aws/clusters",
            "tmp-storage": "/tmp",
            "training-config": "/config",
            "dshm": "/dev/shm",
        }
        assert {mount["name"] for mount in init["volumeMounts"]} == {"fsx-path-init", "training-config", "logs"}
        volumes = {volume["name"]: volume for volume in pod["volumes"]}
        assert volumes["dshm"]["emptyDir"] == {"medium": "Memory"}
        assert volumes["tmp-storage"]["hostPath"] == {"path": "/opt/dlami/nvme", "type": "Directory"}
        assert set(volumes) == {mount["name"] for mount in [*container["volumeMounts"], *init["volumeMounts"]]}


def test_a_pod_goes_to_restricted_nodes_of_its_instance_type(rendered: Rendered) -> None:
    for pod in pods(rendered(instance_group="my-group")):
        [term] = pod["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
        assert {expression["key"]: expression["values"] for expression in term["matchExpressions"]} == {
            "node.kubernetes.io/instance-type": ["ml.p5.48xlarge"],
            "sagemaker.amazonaws.com/instance-group-type": ["Restricted"],
            "sagemaker.amazonaws.com/instance-group-name": ["my-group"],
        }


def test_there_is_a_pod_a_node_and_each_is_restarted(rendered: Rendered) -> None:
    replicas = rendered("model=nova_pro", "cluster=p5x24")["PyTorchJob"]["spec"]["pytorchReplicaSpecs"]
    assert {role: (spec["replicas"], spec["restartPolicy"]) for role, spec in replicas.items()} == {
        "Master": (1, "OnFailure"),
        "Worker": (23, "OnFailure"),
    }


def test_the_account_is_a_marked_placeholder_unless_it_is_given(rendered: Rendered) -> None:
    for options, account in (({}, "ACCOUNT_ID_FROM_STS"), ({"account": "012345678901"}, "012345678901")):
        for pod in pods(rendered(**options)):
            for container in (*pod["containers"], *pod["initContainers"]):
                assert {entry["name"]: entry["value"] for entry in container["env"]} == {
                    "AWS_REGION": "us-east-1",
                    "INSTANCE_TYPE": "ml.p5.48xlarge",
                    "X_AMZ_SOURCE_ACCOUNT": account,
                }


def test_the_template_is_recorded(rendered: Rendered) -> None:
    annotations = rendered(annotations={"team": "x"})["PyTorchJob"]["metadata"]["annotations"]
    assert annotations["team"] == "x"
    assert re.fullmatch(r"aws/sagemaker-hyperpod-recipes [0-9a-f]{7} \S+", annotations["cpt-train/template"])


def test_labels_account_and_class_reach_the_pods(rendered: Rendered) -> None:
    labels = {"kueue.x-k8s.io/queue-name": "queue", "cost": "1e5"}
    objects = rendered(labels=labels, service_account="me", priority_class="high")
    job = objects["PyTorchJob"]
    assert job["metadata"]["labels"] == {**labels, "app": job["metadata"]["name"]}
    assert {tuple(spec["template"]["metadata"]["labels"].items()) for spec in job["spec"]["pytorchReplicaSpecs"].values()} == {
        tuple(labels.items())
    }
    assert {(pod["serviceAccountName"], pod["priorityClassName"]) for pod in pods(objects)} == {("me", "high")}


@pytest.mark.parametrize("value", ["1e5", "0o17", "y", "no", "0x1F", "1_000", "12:30:45", "null", "~", ".inf"])
def test_a_text_that_looks_like_something_else_is_quoted(
    value: str, nova_task: Callable[..., Task], launcher: Callable[..., HyperpodLauncher]
) -> None:
    """Kubernetes reads other numbers and truth values than Python's YAML does."""
    text = launcher(annotations={"note": value}).render(nova_task())["pytorchjob.yaml"]
    assert re.search(rf"""note: ['"]{re.escape(value)}['"]$""", text, re.MULTILINE)


@pytest.mark.parametrize(
    ("region", "account"), [("us-east-1", "708977205387"), ("us-west-2", "176779409107"), ("ap-northeast-1", "878185805882")]
)
@pytest.mark.parametrize(("preset", "tag"), [("nova_lite", "HP-CPT-latest"), ("nova_2_lite", "SM-HP-CPT-V2-latest")])
def test_images_are_the_regions(rendered: Rendered, region: str, account: str, preset: str, tag: str) -> None:
    registry = f"{account}.dkr.ecr.{region}.amazonaws.com"
    for pod in pods(rendered(f"model={preset}", "cluster=p5x8", region=region)):
        assert pod["containers"][0]["image"] == f"{registry}/nova-fine-tune-repo:{tag}"
        assert pod["initContainers"][0]["image"] == f"{registry}/init-container-repo:latest"


def test_a_region_without_images_needs_them_named(rendered: Rendered) -> None:
    with pytest.raises(RecipeError, match="publishes no such image in eu-west-2") as error:
        rendered(region="eu-west-2")
    assert [fault.where for fault in error.value.faults] == ["launcher.options.image"]
    [pod, _] = pods(rendered(region="eu-west-2", image="mine:1"))
    assert pod["containers"][0]["image"] == "mine:1"
    assert pod["initContainers"][0]["image"].startswith("470633809225.dkr.ecr.eu-west-2.")


def test_whatever_amazons_engine_cannot_do_is_refused_at_once(
    nova_task: Callable[..., Task], launcher: Callable[..., HyperpodLauncher]
) -> None:
    task = nova_task("train.precision=fp32", "run.output=outputs", "data.train=here.jsonl", members=3, after=("1",))
    with pytest.raises(RecipeError) as error:
        launcher().render(task)
    assert {fault.where for fault in error.value.faults} == {"train.precision", "run.output", "data.train", "launcher.name"}
    with pytest.raises(RecipeError, match="runs no other command"):
        launcher().render(nova_task(recipe=None))
    with pytest.raises(RecipeError, match=r"model\.name"):
        launcher().render(nova_task("model=nova_tiny", "cluster=local"))


def test_the_recipe_by_itself_has_the_name_that_amazons_own_launcher_lengthens(
    nova_task: Callable[..., Task], launcher: Callable[..., HyperpodLauncher]
) -> None:
    files = launcher().render(nova_task())
    assert yaml.safe_load(files["recipe.yaml"])["run"]["name"] == "my-run"
    assert json.loads(files["override-parameters.json"])["recipes.run.name"] == "my-run"
