"""The launcher's settings: checked here, so that nothing illegal for Kubernetes or AWS goes any further."""

from __future__ import annotations

from typing import Annotated

from pydantic import BeforeValidator, Field, StringConstraints

from cpt.contracts import LauncherOptions

DNS_LABEL = r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\z"
DNS_NAME = r"^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?\z"
QUALIFIED_NAME = r"^([a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?/)?[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?\z"
LABEL_VALUE = r"^([A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?)?\z"
AWS_NAME = r"^[A-Za-z0-9]([A-Za-z0-9-]{0,62})\z"
IMAGE = r"^[A-Za-z0-9][A-Za-z0-9./_:@-]{0,511}\z"


def _instance_type(value: object) -> object:
    """`p5.48xlarge` and `ml.p5.48xlarge` both occur; the API and the nodes' labels want the latter."""
    return f"ml.{value}" if isinstance(value, str) and not value.startswith("ml.") else value


Key = Annotated[str, StringConstraints(pattern=QUALIFIED_NAME)]
Image = Annotated[str, StringConstraints(pattern=IMAGE)]
Name = Annotated[str, StringConstraints(pattern=DNS_NAME)]


class HyperpodOptions(LauncherOptions):
    """Where Amazon's engine trains."""

    cluster: str = Field(pattern=AWS_NAME)
    """Name of the HyperPod cluster."""
    region: str = Field(default="us-east-1", pattern=r"^[a-z]{2}(-[a-z]+)+-[0-9]\z")
    """The cluster's AWS region; the data's and the output's too."""
    account: str | None = Field(default=None, pattern=r"^[0-9]{12}\z")
    """The cluster's AWS account; null: that of the credentials, asked at the submission."""
    namespace: str = Field(default="kubeflow", pattern=DNS_LABEL)
    """Kubernetes namespace of the job."""
    context: str | None = Field(default=None, min_length=1)
    """Context of the kubeconfig; null: the current one."""
    instance_type: Annotated[str | None, BeforeValidator(_instance_type)] = Field(default=None, pattern=r"^ml\.p5(e|en)?\.48xlarge\z")
    """`p5.48xlarge`, `p5e.48xlarge` or `p5en.48xlarge`, with or without `ml.`; null: the recipe's."""
    instance_group: str | None = Field(default=None, pattern=AWS_NAME)
    """The restricted instance group to train in; null: any of that instance type."""
    image: Image | None = None
    """Amazon's training image; null: the region's published one, whose tag moves."""
    init_image: Image | None = None
    """Amazon's init image; null: the region's published one."""
    labels: dict[Key, Annotated[str, StringConstraints(pattern=LABEL_VALUE)]] = Field(default_factory=dict)
    """Labels of the job and its pods, Kueue's `kueue.x-k8s.io/queue-name` among them."""
    annotations: dict[Key, str] = Field(default_factory=dict)
    """Annotations of the job."""
    service_account: Name | None = None
    """Service account of the pods; null: the namespace's default."""
    priority_class: Name | None = None
    """Priority class of the pods; null: the cluster's default."""
