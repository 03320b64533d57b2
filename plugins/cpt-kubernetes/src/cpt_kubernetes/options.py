"""What a recipe may say under `launcher.options`: names and amounts, checked by pattern, since a recipe is a stranger's."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from cpt.contracts import LauncherOptions
from cpt.recipe.frozen import Frozen

Label = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$")]
"""A DNS label of RFC 1123."""
Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$")]
"""A DNS subdomain of RFC 1123: what most Kubernetes objects are called."""
QualifiedKey = Annotated[
    str, StringConstraints(pattern=r"^([a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$")
]
"""The key of a label, an annotation or a resource."""
LabelValue = Annotated[str, StringConstraints(pattern=r"^([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?$")]
VariableName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_.-]*$")]
Text = Annotated[str, StringConstraints(pattern=r"^[^\x00]*$")]
Quantity = Annotated[str, StringConstraints(pattern=r"^[0-9]+(\.[0-9]+)?([KMGTPE]i|[kMGTPE])?$")]
"""Bytes, as Kubernetes writes them: `1900Gi`."""
MountPath = Annotated[str, StringConstraints(pattern=r"^/[A-Za-z0-9._/-]+$")]
Image = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:/@-]*$")]
Program = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._/][A-Za-z0-9._/-]*$")]
Context = Annotated[str, StringConstraints(pattern=r"^[!-~]+$")]


class Toleration(Frozen):
    """A taint that the pods tolerate; Kubernetes' own keys."""

    key: QualifiedKey | None = None
    """The taint's key; null with `operator: Exists`: every taint."""
    operator: Literal["Exists", "Equal"] = "Equal"
    value: LabelValue | None = None
    """The taint's value, for `Equal`."""
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = None
    """Null: all effects."""


class KubernetesOptions(LauncherOptions):
    """Where the pods run, from which image, and with what beside the GPUs that the task needs."""

    image: Image
    """Container image with cpt and the recipe's plugins; see the package's Containerfile."""
    context: Context | None = None
    """kubectl context; null: the current one."""
    namespace: Label | None = None
    """Null: the context's."""
    queue: Name | None = None
    """Kueue's LocalQueue: the job starts suspended and runs once that queue admits it."""
    priority_class: Name | None = None
    """Pods' PriorityClass."""
    service_account: Name | None = None
    """Null: the namespace's default."""
    pull_policy: Literal["Always", "IfNotPresent", "Never"] | None = None
    """When the image is pulled; null: Kubernetes decides by its tag."""
    pull_secrets: tuple[Name, ...] = ()
    """Names of the Secrets that the image is pulled with."""
    python: Program = "python"
    """The image's Python interpreter, in place of this machine's."""
    gpu_resource: QualifiedKey = "nvidia.com/gpu"
    """What a GPU is called among the nodes' resources."""
    efa: Annotated[int, Field(ge=0)] = 0
    """Elastic Fabric Adapters a node (`vpc.amazonaws.com/efa`); 32 on p5.48xlarge."""
    cpus: Annotated[int, Field(ge=1)] | None = None
    """CPUs a node; null: no limit."""
    memory: Quantity | None = None
    """Memory a node; null: no limit."""
    shared_memory: Quantity | None = None
    """Most that `/dev/shm` may hold, counted as the pod's memory; null: as much as the pod has."""
    volumes: dict[Name, MountPath] = Field(default_factory=dict)
    """PersistentVolumeClaims and where each is mounted: the path that it has on this machine, for a run's paths mean the same there."""
    node_selector: dict[QualifiedKey, LabelValue] = Field(default_factory=dict)
    """Labels of the nodes to run on."""
    tolerations: tuple[Toleration, ...] = ()
    env: dict[VariableName, Text] = Field(default_factory=dict)
    """Environment variables of the pods. No secrets: they stand in the job."""
    env_from_secrets: tuple[Name, ...] = ()
    """Names of Secrets whose keys become environment variables of the pods."""
    labels: dict[QualifiedKey, LabelValue] = Field(default_factory=dict)
    """More labels of the job and its pods."""
    annotations: dict[QualifiedKey, Text] = Field(default_factory=dict)
    """More annotations of the job and its pods."""
    restart: Literal["OnFailure", "ExitCode", "Never"] = "OnFailure"
    """`OnFailure`: a pod that fails or is evicted starts again and goes on from the newest checkpoint. `ExitCode`: only after a signal."""
    backoff_limit: Annotated[int, Field(ge=0)] = 5
    """Times that the job may start again, all its pods or some; a pod that is lost with its node and made anew does not count."""
    grace_s: Annotated[int, Field(ge=0)] = 120
    """Seconds between SIGTERM and the kill of a pod: long enough to commit a checkpoint."""
    ttl_s: Annotated[int, Field(ge=0)] | None = None
    """Seconds after which an ended job and its logs are removed; null: never."""
