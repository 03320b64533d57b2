"""What a job's pods write, and the build of their image."""

from __future__ import annotations

from collections.abc import Iterator

from cpt.kubectl import Kubectl, pods_of


def lines(kubectl: Kubectl, job: str) -> Iterator[tuple[str, str]]:
    """Each node and line, node by node; what a container has not begun to write is not there yet."""
    for node, pod in pods_of(kubectl, job):
        for container in ("init-container", "pytorch"):
            yield from (
                (f"node {node}", line) for line in kubectl.lines("logs", f"pods/{pod['metadata']['name']}", f"--container={container}")
            )


def image_digest(kubectl: Kubectl, job: str) -> str | None:
    """The image that trains, by digest; None where the pods are gone, or have not begun."""
    for _, pod in pods_of(kubectl, job):
        for container in pod.get("status", {}).get("containerStatuses", []):
            if container.get("name") == "pytorch" and container.get("imageID"):
                return str(container["imageID"])
    return None
