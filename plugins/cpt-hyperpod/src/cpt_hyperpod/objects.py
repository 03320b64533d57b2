"""The Kubernetes objects of a job, as Amazon's own launcher renders them: a ConfigMap with the recipe, and a PyTorchJob."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from cpt.recipe import amazon
from cpt.recipe.document import write_document
from cpt_hyperpod.nova_job import INSTANCES, NovaJob
from cpt_hyperpod.options import HyperpodOptions

Object = dict[str, Any]
TEMPLATE = "aws/sagemaker-hyperpod-recipes 2631995 launcher/nova/k8s_templates/SFT"
"""The template of Amazon's that these objects agree with: continued pre-training has no other. Commit of 2026-06-23."""
TEMPLATE_ANNOTATION = "cpt-train/template"
ACCOUNT_PLACEHOLDER = "ACCOUNT_ID_FROM_STS"
"""Stands for the AWS account in what a dry run writes; no account is called so, and a submission fills it in."""
CONFIG_FILE = "config.yaml"
LOGS, CONFIG, SHARED_MEMORY = "logs", "training-config", "dshm"
HOST_FOLDERS = {
    "fsx-path-main": ("/sagemaker/fsx/main", "DirectoryOrCreate"),
    "fsx-path-init": ("/sagemaker/fsx/init", "DirectoryOrCreate"),
    "fsx-path-output-artifacts": ("/sagemaker/fsx/output_artifacts", "DirectoryOrCreate"),
    LOGS: ("/var/log/aws/clusters", "DirectoryOrCreate"),
    "tmp-storage": ("/opt/dlami/nvme", "Directory"),
}
"""Volume by name: the node's folder, and whether Kubernetes may create it."""
INIT_MOUNTS = {"fsx-path-init": "/sagemaker/fsx/init", CONFIG: "/config", LOGS: "/var/log/aws/clusters"}
MOUNTS = {
    "fsx-path-main": "/sagemaker/fsx/main",
    "fsx-path-output-artifacts": "/sagemaker/fsx/output_artifacts",
    CONFIG: "/config",
    LOGS: "/var/log/aws/clusters",
    SHARED_MEMORY: "/dev/shm",  # noqa: S108  the container's
    "tmp-storage": "/tmp",  # noqa: S108  likewise
}


def config_map_name(job: str) -> str:
    """The name of a job's ConfigMap."""
    return f"training-config-{job}"


def objects(job: NovaJob, options: HyperpodOptions, account: str) -> tuple[Object, Object]:
    """The ConfigMap and the PyTorchJob of `job`.

    Args:
        job: What trains.
        options: Where.
        account: The AWS account that the engine works for.
    """
    metadata = {"namespace": options.namespace, "labels": {**options.labels, "app": job.name}}
    config_map = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": config_map_name(job.name), **metadata},
        "data": {CONFIG_FILE: amazon.render(job.engine_recipe)},
    }
    pytorch_job = {
        "apiVersion": "kubeflow.org/v1",
        "kind": "PyTorchJob",
        "metadata": {"name": job.name, **metadata, "annotations": {**options.annotations, TEMPLATE_ANNOTATION: TEMPLATE}},
        "spec": {"pytorchReplicaSpecs": _replicas(job.nodes, _pod(job, options, account))},
    }
    return config_map, pytorch_job


def to_yaml(documents: Iterable[Mapping[str, Any]]) -> str:
    """Several objects as one text."""
    return "".join(f"---\n{write_document(document)}" for document in documents)


def _replicas(nodes: int, pod: Object) -> Object:
    """One pod a node; without a `Worker` where there is one node."""
    specs = {"Master": 1, "Worker": nodes - 1}
    return {role: {"replicas": count, "restartPolicy": "OnFailure", "template": pod} for role, count in specs.items() if count}


def _pod(job: NovaJob, options: HyperpodOptions, account: str) -> Object:
    environment = {"AWS_REGION": options.region, "INSTANCE_TYPE": job.instance_type, "X_AMZ_SOURCE_ACCOUNT": account}
    shared = {"imagePullPolicy": "Always", "env": [{"name": name, "value": value} for name, value in environment.items()]}
    spec = {
        "tolerations": [{"key": "sagemaker.amazonaws.com/RestrictedNode", "operator": "Equal", "value": "Worker", "effect": "NoSchedule"}],
        "priorityClassName": options.priority_class,
        "serviceAccountName": options.service_account,
        "initContainers": [{"name": "init-container", "image": job.init_image, **shared, "volumeMounts": _mounts(INIT_MOUNTS)}],
        "containers": [{"name": "pytorch", "image": job.image, **shared, **_hardware(job), "volumeMounts": _mounts(MOUNTS)}],
        "affinity": _affinity(job, options),
        "volumes": _volumes(job),
    }
    labels = {"metadata": {"labels": dict(options.labels)}} if options.labels else {}
    return {**labels, "spec": {key: value for key, value in spec.items() if value is not None}}


def _hardware(job: NovaJob) -> Object:
    instance = INSTANCES[job.instance_type]
    devices = {"nvidia.com/gpu": instance.gpus, "vpc.amazonaws.com/efa": instance.efa}
    return {"resources": {"limits": devices, "requests": devices}, "securityContext": {"capabilities": {"add": ["IPC_LOCK"]}}}


def _affinity(job: NovaJob, options: HyperpodOptions) -> Object:
    """Only restricted nodes of the job's instance type, and of its group where one is named."""
    labels = {
        "node.kubernetes.io/instance-type": job.instance_type,
        "sagemaker.amazonaws.com/instance-group-type": "Restricted",
        "sagemaker.amazonaws.com/instance-group-name": options.instance_group,
    }
    terms = [{"key": key, "operator": "In", "values": [value]} for key, value in labels.items() if value]
    required = {"nodeSelectorTerms": [{"matchExpressions": terms}]}
    return {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": required}}


def _mounts(places: Mapping[str, str]) -> list[Object]:
    return [{"name": name, "mountPath": path} for name, path in places.items()]


def _volumes(job: NovaJob) -> list[Object]:
    hosts = [{"name": name, "hostPath": {"path": path, "type": kind}} for name, (path, kind) in HOST_FOLDERS.items()]
    return [
        *hosts,
        {"name": CONFIG, "configMap": {"name": config_map_name(job.name)}},
        {"name": SHARED_MEMORY, "emptyDir": {"medium": "Memory"}},
    ]
