"""The PyTorchJob that a task becomes: whole, as the published schemas want it, and holding a stranger's words as words."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from kubernetes_cluster import validator
from pytorch_operator import expanded

from cpt.contracts import Task
from cpt.errors import PluginError, ResourceError
from cpt.plugins import validate_options
from cpt_kubernetes import KubernetesLauncher, KubernetesOptions
from cpt_kubernetes.pytorch_job import literal, name_prefix

GOLDEN = Path(__file__).parent / "golden"
IMAGE = {"image": "registry.example/ml/cpt:0.1"}
EVERYTHING = {
    **IMAGE,
    "namespace": "research",
    "queue": "team-a",
    "priority_class": "high",
    "service_account": "trainer",
    "pull_policy": "IfNotPresent",
    "pull_secrets": ["registry-login"],
    "python": "/opt/venv/bin/python",
    "efa": 32,
    "cpus": 180,
    "memory": "1900Gi",
    "shared_memory": "500Gi",
    "volumes": {"fsx": "/fsx", "datasets": "/datasets"},
    "node_selector": {"node.kubernetes.io/instance-type": "p5.48xlarge"},
    "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}],
    "env": {"NCCL_DEBUG": "INFO", "ANSWER": "y", "RATE": "1e3"},
    "env_from_secrets": ["hub-token"],
    "labels": {"team": "a"},
    "annotations": {"sidecar.istio.io/inject": "false"},
    "restart": "OnFailure",
    "backoff_limit": 3,
    "grace_s": 300,
    "ttl_s": 86_400,
}
ONE = Task("nova-tiny-5f2c91ab", ("/usr/bin/python3", "-m", "cpt.node", "s3://runs/a"), nodes=1, processes=1, folder=Path("/runs/a/job"))
FOUR = replace(ONE, argv=(*ONE.argv[:-1], "/fsx/runs/a"), nodes=4, processes=8, gpus_per_node=8, env={"OMP_NUM_THREADS": "11"})
ARRAY = replace(ONE, argv=(*ONE.argv[:-1], "--members", "s3://runs/members.json"), members=3)


def options(given: dict[str, Any]) -> KubernetesOptions:
    """As a recipe's are read."""
    read = validate_options(KubernetesOptions, given, "launcher.options")
    assert isinstance(read, KubernetesOptions)
    return read


def rendered(task: Task, given: dict[str, Any]) -> list[dict[str, Any]]:
    [text] = KubernetesLauncher(options(given)).render(task).values()
    return list(yaml.safe_load_all(text))


def container(job: dict[str, Any], kind: str = "Master") -> dict[str, Any]:
    [only] = job["spec"]["pytorchReplicaSpecs"][kind]["template"]["spec"]["containers"]
    return dict(only)


@pytest.mark.parametrize(("name", "task", "given"), [("one", ONE, IMAGE), ("four", FOUR, EVERYTHING), ("array", ARRAY, IMAGE)])
def test_it_is_what_it_was(name: str, task: Task, given: dict[str, Any]) -> None:
    [text] = KubernetesLauncher(options(given)).render(task).values()
    assert text == (GOLDEN / f"{name}.yaml").read_text()


@pytest.mark.parametrize(("task", "given"), [(ONE, IMAGE), (FOUR, EVERYTHING), (ARRAY, IMAGE), (ONE, EVERYTHING)])
def test_it_fits_the_published_schemas(task: Task, given: dict[str, Any]) -> None:
    for job in rendered(task, given):
        assert [error.message for error in validator().iter_errors(job)] == []


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("spec", "runPolicy", "backoffLimit"), "5"),
        (("spec", "runPolicy", "backofLimit"), 5),
        (("spec", "pytorchReplicaSpecs", "Chief"), {}),
        (("spec", "pytorchReplicaSpecs", "Master", "template", "spec", "containers"), [{"image": "x"}]),
        (("spec", "pytorchReplicaSpecs", "Master", "template", "spec", "nodeselector"), {}),
    ],
)
def test_the_schemas_see_a_fault(path: tuple[str, ...], value: object) -> None:
    [job] = rendered(ONE, IMAGE)
    place = job
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    assert not validator().is_valid(job)


def test_every_option_shows() -> None:
    """None is taken and forgotten."""
    plain = {"context", "namespace", "render_to"}
    task = replace(FOUR, argv=ONE.argv)
    for name in KubernetesOptions.model_fields.keys() - plain - {"image", "gpu_resource", "restart"}:
        assert rendered(task, {**IMAGE, name: EVERYTHING[name]}) != rendered(task, IMAGE), name
    for name, value in {"gpu_resource": "amd.com/gpu", "restart": "Never"}.items():
        assert rendered(task, {**IMAGE, name: value}) != rendered(task, IMAGE)


def test_what_no_pod_could_find_is_not_written_either() -> None:
    with pytest.raises(ResourceError, match=r"launcher\.options\.volumes: /fsx/runs/a"):
        rendered(FOUR, IMAGE)


def test_one_node_has_no_workers_and_each_node_has_one_pod() -> None:
    counts = {nodes: rendered(replace(ONE, nodes=nodes), IMAGE)[0]["spec"]["pytorchReplicaSpecs"] for nodes in (1, 2, 16)}
    replicas = {nodes: {kind: spec["replicas"] for kind, spec in specs.items()} for nodes, specs in counts.items()}
    assert replicas == {1: {"Master": 1}, 2: {"Master": 1, "Worker": 1}, 16: {"Master": 1, "Worker": 15}}


def test_members_are_jobs_of_their_own_that_know_their_number() -> None:
    jobs = rendered(ARRAY, IMAGE)
    assert [variable["value"] for job in jobs for variable in container(job)["env"] if variable["name"] == "CPT_MEMBER"] == ["0", "1", "2"]


def test_a_queued_job_starts_suspended() -> None:
    [job] = rendered(ONE, {**IMAGE, "queue": "team-a"})
    assert job["spec"]["runPolicy"]["suspend"] is True
    assert job["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] == "team-a"
    assert "suspend" not in rendered(ONE, IMAGE)[0]["spec"]["runPolicy"]


@pytest.mark.parametrize("name", ["a", "9b-model", "x" * 34, "x" * 200, "-a-", "llama3-2-1b-0123abcd"])
@pytest.mark.parametrize("nodes", [1, 2, 12, 5_000])
def test_its_pods_have_legal_names(name: str, nodes: int) -> None:
    prefix = name_prefix(name, nodes)
    longest = f"{prefix}abcde-worker-{max(nodes - 2, 0)}"
    assert re.fullmatch(r"[a-z]([-a-z0-9]*[a-z0-9])?", longest)
    assert len(longest) <= 63
    assert "--" not in longest.removeprefix(name)


def test_names_with_the_same_beginning_still_tell() -> None:
    assert name_prefix("llama3-2-1b-0123abcd", 128) == "llama3-2-1b-0123abcd-"


WORDS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])) | st.text(st.sampled_from("$()AB_ "))


@given(WORDS)
def test_a_kubelet_reads_every_word_as_it_was(word: str) -> None:
    assert expanded(literal(word), {"A": "secret", "B": "secret", "AB": "secret"}) == word


@pytest.mark.parametrize("word", ["$(RANK)", "$$(RANK)", "$$$(A)", "$$", "$(A", "$((A))", "$(9.x-y)", "$($$)", "$é"])
def test_a_reference_to_a_variable_is_no_reference(word: str) -> None:
    assert expanded(literal(word), {"A": "secret", "RANK": "7", "9.x-y": "secret"}) == word


HOSTILE_OPTIONS = [
    ("image", "cpt:1\n  hostNetwork: true"),
    ("image", "--privileged"),
    ("python", "$(RANK)"),
    ("python", "LD_PRELOAD=/tmp/x.so"),
    ("python", "python -c evil"),
    ("context", "here --token=x"),
    ("namespace", "kube-system/x"),
    ("queue", "a b"),
    ("volumes", {"fsx": "relative"}),
    ("volumes", {"fsx": "/a\n/b"}),
    ("volumes", {"../host": "/a"}),
    ("env", {"A=B": "x"}),
    ("env", {"A": "x\0y"}),
    ("labels", {"a": "b c"}),
    ("tolerations", [{"key": "a", "operator": "In"}]),
    ("memory", "lots"),
    ("efa", -1),
    ("efa", True),
    ("restart", "Always"),
    ("hostNetwork", True),
]


@pytest.mark.parametrize(("name", "value"), HOSTILE_OPTIONS)
def test_an_option_that_is_no_such_thing_is_refused(name: str, value: object) -> None:
    with pytest.raises(PluginError) as error:
        options({**IMAGE, name: value})
    assert error.value.faults[0].where.startswith(f"launcher.options.{name}")


def test_the_image_must_be_given() -> None:
    with pytest.raises(PluginError, match=r"launcher\.options\.image: must be given"):
        options({})
