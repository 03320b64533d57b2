"""What the training operator and a kubelet do to a PyTorchJob, with processes of this machine in place of containers.

Follows the operator's `pkg/controller.v1/{pytorch,common}` (v1.9) and Kubernetes' rules for `$(NAME)`; nodes, images and volumes are not
imitated.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

NAME = re.compile(r"\$(\$|\([^)]*\))")


def expanded(text: str, variables: Mapping[str, str]) -> str:
    """What a kubelet makes of a word: `$(NAME)` of a variable is its value, `$$` a dollar sign, everything else itself."""
    return NAME.sub(lambda match: "$" if match[1] == "$" else variables.get(match[1][1:-1], match[0]), text)


def value_of(variable: Mapping[str, Any], labels: Mapping[str, str]) -> str:
    """A container's variable: as written, or the label of its pod that it refers to."""
    if "value" in variable:
        return str(variable["value"])
    label = re.fullmatch(r"metadata\.labels\['(.+)'\]", variable["valueFrom"]["fieldRef"]["fieldPath"])
    assert label
    return labels[label[1]]


def operator_env(rank: int, nodes: int, port: int) -> dict[str, str]:
    """What the operator appends to a container's variables; in place of the Master's service, this machine."""
    master = {"MASTER_PORT": str(port), "PET_MASTER_PORT": str(port), "MASTER_ADDR": "localhost", "PET_MASTER_ADDR": "localhost"}
    place = {
        "WORLD_SIZE": str(nodes),
        "RANK": str(rank),
        "PET_NPROC_PER_NODE": "auto",
        "PET_NODE_RANK": str(rank),
        "PET_NNODES": str(nodes),
    }
    return {"PYTHONUNBUFFERED": "1", **master, **place}


class Pod:
    """One process, started again as its restart policy says."""

    def __init__(self, name: str, labels: Mapping[str, str], spec: Mapping[str, Any], env: Mapping[str, str], log: Path) -> None:
        self.name, self.labels, self.log, self.restarts = name, labels, log, 0
        container = spec["containers"][0]
        variables = {one["name"]: value_of(one, labels) for one in container.get("env", [])} | dict(env)
        self.env = {key: expanded(value, {}) for key, value in variables.items()}
        self.argv = [expanded(word, self.env) for word in container["command"]]
        self.last_end: dict[str, Any] | None = None
        self.start()

    def start(self) -> None:
        with self.log.open("w") as log:
            environ = {"PATH": os.environ["PATH"], **self.env}
            self.process = subprocess.Popen(self.argv, env=environ, stdout=log, stderr=log, start_new_session=True)

    def restart(self) -> None:
        self.last_end, self.restarts = self.how_it_ended(), self.restarts + 1
        self.start()

    def how_it_ended(self) -> dict[str, Any]:
        """What a kubelet keeps of a container that asked for `FallbackToLogsOnError`."""
        return {"exitCode": self.code, "message": self.log.read_text()[-2048:] if self.code else ""}

    @property
    def code(self) -> int | None:
        code = self.process.poll()
        return code if code is None or code >= 0 else 128 - code

    def end(self, grace_s: float = 0) -> None:
        """SIGTERM, then SIGKILL."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(grace_s or 0.01)
            except subprocess.TimeoutExpired:
                os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def as_object(self) -> dict[str, Any]:
        code = self.code
        phase = "Running" if code is None else "Failed" if code else "Succeeded"
        state = {"running": {}} if code is None else {"terminated": self.how_it_ended()}
        last = {} if self.last_end is None else {"terminated": self.last_end}
        container = {"name": "pytorch", "restartCount": self.restarts, "state": state, "lastState": last}
        metadata = {"name": self.name, "labels": dict(self.labels)}
        spec = {"nodeName": "here", "containers": [{"name": "pytorch"}]}
        return {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": metadata,
            "spec": spec,
            "status": {"phase": phase, "containerStatuses": [container]},
        }


class Job:
    """One PyTorchJob: its object, and its pods once it is not suspended."""

    def __init__(self, tree: dict[str, Any], folder: Path) -> None:
        self.tree, self.folder, self.pods = tree, folder, list[Pod]()
        self.ended: str | None = None
        self.deleted_at: float | None = None

    @property
    def name(self) -> str:
        return str(self.tree["metadata"]["name"])

    def reconcile(self) -> None:
        """One round of the operator."""
        policy = self.tree["spec"]["runPolicy"]
        if policy.get("suspend"):
            self._tell("Suspended")
        elif self.deleted_at is None and self.ended is None:
            self.pods = self.pods or self._create_pods()
            self._tell("Running")
            self._look_after(policy["backoffLimit"])

    def delete(self) -> None:
        self.deleted_at = self.deleted_at or time.monotonic()
        self.tree["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
        for pod in self.pods:
            if pod.code is None:
                pod.process.send_signal(signal.SIGTERM)

    @property
    def gone(self) -> bool:
        """Deleted in the foreground: there until its pods have ended, which are killed once their time is over."""
        if self.deleted_at is None:
            return False
        grace_s = self.tree["spec"]["pytorchReplicaSpecs"]["Master"]["template"]["spec"]["terminationGracePeriodSeconds"]
        if time.monotonic() > self.deleted_at + grace_s:
            self.end()
        return all(pod.code is not None for pod in self.pods)

    def end(self) -> None:
        for pod in self.pods:
            pod.end()

    def _create_pods(self) -> list[Pod]:
        specs = self.tree["spec"]["pytorchReplicaSpecs"]
        nodes = sum(spec["replicas"] for spec in specs.values())
        return [
            self._pod(kind.lower(), index, rank=index + (kind == "Worker"), nodes=nodes, template=spec["template"])
            for kind, spec in specs.items()
            for index in range(spec["replicas"])
        ]

    def _pod(self, kind: str, index: int, rank: int, nodes: int, template: Mapping[str, Any]) -> Pod:
        spec, own = template["spec"], template.get("metadata", {}).get("labels", {})
        name = f"{self.name}-{kind}-{index}"
        parts = {"job-name": self.name, "replica-type": kind, "replica-index": str(index)}
        [port] = [port["containerPort"] for port in spec["containers"][0]["ports"] if port["name"] == "pytorchjob-port"]
        labels = {**own, **{f"training.kubeflow.org/{key}": value for key, value in parts.items()}}
        return Pod(name, labels, spec, operator_env(rank, nodes, port), self.folder / name)

    def _look_after(self, backoff_limit: int) -> None:
        policy = self.tree["spec"]["pytorchReplicaSpecs"]["Master"]["restartPolicy"]
        if self.pods[0].code == 0:
            self._finish("Succeeded", f"PyTorchJob {self.name} is successfully completed.")
        for pod in self.pods if self.ended is None else []:
            if pod.code and policy == "OnFailure":
                pod.restart()
            elif pod.code:
                self._finish("Failed", f"PyTorchJob {self.name} is failed because 1 replica(s) failed.")
        if self.ended is None and sum(pod.restarts for pod in self.pods) >= max(backoff_limit, 1):
            self.end()
            self.pods = []
            self._finish("Failed", f"Job {self.name} has failed because it has reached the specified backoff limit")

    def _finish(self, condition: str, message: str) -> None:
        self.ended = condition
        self._tell(condition, message)

    def _tell(self, condition: str, message: str = "") -> None:
        self.tree["status"] = {"conditions": [{"type": condition, "status": "True", "message": message}]}
