"""A job's pods, one a node."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from cpt_kubernetes.kubectl import Kubectl

JOB_LABEL, KIND_LABEL, INDEX_LABEL = (f"training.kubeflow.org/{part}" for part in ("job-name", "replica-type", "replica-index"))
"""What the operator labels a job's pods with."""


def pods_of(kubectl: Kubectl, job: str) -> list[tuple[int, dict[str, Any]]]:
    """The pods of a PyTorchJob that are there, by node."""
    return by_node(kubectl.get("pods", f"--selector={JOB_LABEL}={job}").get("items", []))


def by_node(pods: Iterable[dict[str, Any]]) -> list[tuple[int, dict[str, Any]]]:
    """Each pod with the rank of its node: the Master's is 0, that of Worker i is i + 1."""
    return sorted(((_node_rank(pod), pod) for pod in pods), key=lambda ranked: ranked[0])


def _node_rank(pod: dict[str, Any]) -> int:
    labels = pod["metadata"].get("labels", {})
    return 0 if labels.get(KIND_LABEL, "").lower() == "master" else 1 + int(labels.get(INDEX_LABEL, 0))
