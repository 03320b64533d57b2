"""From a task to a PyTorchJob (`kubeflow.org/v1`), as plain data: pure functions.

What the training operator adds to each pod (its `pkg/controller.v1/pytorch`, v1.5 to v1.9): `RANK` (0 for the Master, i + 1 for Worker i),
`MASTER_ADDR` (the Master's headless service), `MASTER_PORT` (the port named `pytorchjob-port`), `WORLD_SIZE`, and `PET_*` for torchrun from
v1.7 on. Its `RANK` is the node's rank here. It appends them to the container's own variables, so a variable cannot refer to them but the
command can: `env NODE_RANK=$(RANK)`, which the kubelet expands; no shell is involved.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from cpt.contracts import Task
from cpt.kubectl import JOB_LABEL
from cpt_kubernetes.options import KubernetesOptions

CONTAINER = "pytorch"
"""The container that the operator looks after."""
PORT = 23456
SHARED_MEMORY = "/dev/shm"  # noqa: S108  (the container's)
OURS = {"app.kubernetes.io/managed-by": "cpt"}
"""The label of every job and pod of ours."""
QUEUE_LABEL = "kueue.x-k8s.io/queue-name"
EFA_RESOURCE = "vpc.amazonaws.com/efa"
EFA_ENV = {"FI_PROVIDER": "efa", "FI_EFA_USE_HUGE_PAGE": "0"}
"""libfabric over EFA; without huge pages, which the pods do not ask for."""
_LABEL_LENGTH, _RANDOM_LENGTH = 63, 5


def pytorch_job(task: Task, options: KubernetesOptions, member: int) -> dict[str, Any]:
    """The PyTorchJob of one member of `task`; the cluster completes its name.

    Args:
        task: The whole task.
        options: The recipe's.
        member: From 0; told to the pods as `CPT_MEMBER` where there are several.
    """
    queue = {QUEUE_LABEL: options.queue} if options.queue else {}
    metadata = {
        "generateName": name_prefix(task.name, task.nodes),
        "namespace": options.namespace,
        "labels": {**options.labels, **queue, **OURS},
        "annotations": options.annotations,
    }
    template = _pod_template(task, options, _variables(task, options, member))
    replicas = {"Master": 1, "Worker": task.nodes - 1}
    specs = {kind: {"replicas": count, "restartPolicy": options.restart, "template": template} for kind, count in replicas.items() if count}
    spec = {"runPolicy": _run_policy(task, options), "pytorchReplicaSpecs": specs}
    return {"apiVersion": "kubeflow.org/v1", "kind": "PyTorchJob", "metadata": _given(metadata), "spec": spec}


def name_prefix(name: str, nodes: int) -> str:
    """What a job's name begins with: a letter first, and short enough for the names of its pods' services (63 characters, RFC 1035)."""
    longest_suffix = len(f"-worker-{max(nodes - 2, 0)}")
    legal = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
    legal = legal if legal[:1].isalpha() else f"cpt-{legal}"
    return legal[: _LABEL_LENGTH - longest_suffix - _RANDOM_LENGTH - 1].rstrip("-") + "-"


def literal(text: str) -> str:
    """`text` for a command or variable of a container, where the kubelet would replace `$(NAME)` and take `$$` for a dollar sign."""
    return text.replace("$", "$$")


def _run_policy(task: Task, options: KubernetesOptions) -> dict[str, Any]:
    policy = {
        "cleanPodPolicy": "Running",  # ended pods stay: they hold the logs
        "backoffLimit": options.backoff_limit * task.nodes + 1,  # the operator counts each pod's restarts, and fails at this many
        "ttlSecondsAfterFinished": options.ttl_s,
        "suspend": True if options.queue else None,
    }
    return _given(policy)


def _variables(task: Task, options: KubernetesOptions, member: int) -> dict[str, str]:
    efa = EFA_ENV if options.efa else {}
    numbered = {"CPT_MEMBER": str(member)} if task.members > 1 else {}
    return {**efa, **options.env, **task.env, **numbered}


def _pod_template(task: Task, options: KubernetesOptions, variables: Mapping[str, str]) -> dict[str, Any]:
    spec = {
        "terminationGracePeriodSeconds": options.grace_s,
        "serviceAccountName": options.service_account,
        "priorityClassName": options.priority_class,
        "imagePullSecrets": [{"name": name} for name in options.pull_secrets],
        "nodeSelector": options.node_selector,
        "tolerations": [toleration.model_dump(exclude_none=True) for toleration in options.tolerations],
        "containers": [_container(task, options, variables)],
        "volumes": [_shared_memory(options), *_claims(options)],
    }
    metadata = {"labels": {**options.labels, **OURS}, "annotations": options.annotations}
    return _given({"metadata": _given(metadata), "spec": _given(spec)})


def _container(task: Task, options: KubernetesOptions, variables: Mapping[str, str]) -> dict[str, Any]:
    amounts = _given(
        {
            options.gpu_resource: task.gpus_per_node or None,
            EFA_RESOURCE: options.efa or None,
            "cpu": options.cpus,
            "memory": options.memory,
        }
    )
    container = {
        "name": CONTAINER,
        "image": options.image,
        "imagePullPolicy": options.pull_policy,
        "command": ["env", "NODE_RANK=$(RANK)", options.python, *map(literal, task.argv[1:])],
        "env": [*_own_job(task), *({"name": name, "value": literal(value)} for name, value in variables.items())],
        "envFrom": [{"secretRef": {"name": name}} for name in options.env_from_secrets],
        "ports": [{"name": "pytorchjob-port", "containerPort": PORT}],
        "resources": _given({"limits": amounts, "requests": amounts}),
        "terminationMessagePolicy": "FallbackToLogsOnError",  # its last lines outlive the container: the job's status shows them
        "volumeMounts": [{"name": "shm", "mountPath": SHARED_MEMORY}, *_mounts(options)],
    }
    return _given(container)


def _own_job(task: Task) -> list[dict[str, Any]]:
    """What a pod is told of its job, whose name is known once it is created; see `cpt.contracts.Task`."""
    told = {"CPT_JOB_LAUNCHER": "kubernetes", "CPT_JOB_FOLDER": literal(str(task.folder))}
    name = {"name": "CPT_JOB_ID", "valueFrom": {"fieldRef": {"fieldPath": f"metadata.labels['{JOB_LABEL}']"}}}
    return [*({"name": key, "value": value} for key, value in told.items()), name]


def _shared_memory(options: KubernetesOptions) -> dict[str, Any]:
    return {"name": "shm", "emptyDir": _given({"medium": "Memory", "sizeLimit": options.shared_memory})}


def _claims(options: KubernetesOptions) -> list[dict[str, Any]]:
    return [{"name": f"claim-{n}", "persistentVolumeClaim": {"claimName": claim}} for n, claim in enumerate(options.volumes)]


def _mounts(options: KubernetesOptions) -> list[dict[str, Any]]:
    return [{"name": f"claim-{n}", "mountPath": path} for n, path in enumerate(options.volumes.values())]


def _given(fields: Mapping[str, Any]) -> dict[str, Any]:
    """`fields` without those that say nothing."""
    return {name: value for name, value in fields.items() if value is not None and value not in ({}, [])}
