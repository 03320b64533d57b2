"""A job's pods, one a node: what they write, and the build of their image."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from cpt_hyperpod.kubectl import Kubectl

JOB_LABEL, ROLE_LABEL, INDEX_LABEL = (f"training.kubeflow.org/{name}" for name in ("job-name", "replica-type", "replica-index"))


def lines(kubectl: Kubectl, job: str) -> Iterator[tuple[str, str]]:
    """Each node and line, node by node; what a container has not begun to write is not there yet."""
    for node, pod in enumerate(_pods(kubectl, job)):
        for container in ("init-container", "pytorch"):
            done = kubectl.attempt("logs", pod["metadata"]["name"], f"--container={container}")
            if done.returncode == 0:
                yield from ((f"node {node}", line) for line in done.stdout.splitlines())


def image_digest(kubectl: Kubectl, job: str) -> str | None:
    """The image that trains, by digest; None where the pods are gone, or have not begun."""
    for pod in _pods(kubectl, job):
        for container in pod.get("status", {}).get("containerStatuses", []):
            if container.get("name") == "pytorch" and container.get("imageID"):
                return str(container["imageID"])
    return None


def _pods(kubectl: Kubectl, job: str) -> list[dict[str, Any]]:
    """The master's first, then the workers' by number."""
    found = kubectl.get("pods", f"--selector={JOB_LABEL}={job}") or {}
    return sorted(found.get("items", []), key=_place)


def _place(pod: dict[str, Any]) -> tuple[bool, int]:
    labels = pod["metadata"].get("labels", {})
    return labels.get(ROLE_LABEL) != "master", int(labels.get(INDEX_LABEL, 0))
