"""What a PyTorchJob and its pods say about where a job stands."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from cpt.contracts import JobState, JobStatus
from cpt.errors import EXIT_DONE, EXIT_PREEMPTED
from cpt_kubernetes.pytorch_job import CONTAINER, QUEUE_LABEL


def job_status(job: dict[str, Any], pods: Sequence[dict[str, Any]]) -> JobStatus:
    """The status of a PyTorchJob that exists.

    Args:
        job: As the cluster has it.
        pods: Its pods, by node.
    """
    true = {condition["type"]: condition for condition in job.get("status", {}).get("conditions", []) if condition["status"] == "True"}
    if condition := true.get("Succeeded"):
        return JobStatus(JobState.COMPLETED, _said(condition), EXIT_DONE)
    if condition := true.get("Failed"):
        code, words = _bad_end(pods)
        state = JobState.PREEMPTED if code == EXIT_PREEMPTED else JobState.FAILED
        return JobStatus(state, _joined(_said(condition), words), code)
    if "deletionTimestamp" in job["metadata"]:
        return JobStatus(JobState.RUNNING, "asked to end: its pods commit")
    if "Suspended" in true or job["spec"].get("runPolicy", {}).get("suspend"):
        queue = job["metadata"].get("labels", {}).get(QUEUE_LABEL)
        return JobStatus(JobState.QUEUED, f"waits for the queue {queue}" if queue else "suspended")
    waiting = _joined(*map(_why_it_waits, pods))
    if "Running" in true or "Restarting" in true:
        code, words = _bad_end(pods)
        again = "" if code is None else f"started again after {code}"
        return JobStatus(JobState.RUNNING, _joined(waiting or _nodes(pods), again, words))
    return JobStatus(JobState.QUEUED, waiting)


def has_started(pod: dict[str, Any]) -> bool:
    """Whether the pod's container has run, so that it has a log."""
    return any("running" in state or "terminated" in state for state in _states(pod))


def _states(pod: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The container's state now, and the one before its last restart."""
    for container in pod.get("status", {}).get("containerStatuses", []):
        if container["name"] == CONTAINER:
            yield from (container.get("state", {}), container.get("lastState", {}))


def _why_it_waits(pod: dict[str, Any]) -> str:
    unmet = [one for one in pod.get("status", {}).get("conditions", []) if one["type"] == "PodScheduled" and one["status"] == "False"]
    waiting = [state["waiting"] for state in _states(pod) if "waiting" in state]
    return next(filter(None, map(_said, [*unmet, *waiting])), "")


def _bad_end(pods: Sequence[dict[str, Any]]) -> tuple[int | None, str]:
    """How the argv of the first node that knows ended badly, now or before its last restart, and the last line that it wrote."""
    ends = (state["terminated"] for pod in pods for state in _states(pod) if "terminated" in state)
    end: dict[str, Any] = next((end for end in ends if end["exitCode"]), {})
    return end.get("exitCode"), (str(end.get("message") or "").strip().splitlines() or [""])[-1]


def _said(condition: dict[str, Any]) -> str:
    return " ".join(str(condition.get("message") or condition.get("reason") or "").split())


def _joined(*words: str) -> str:
    return "; ".join(dict.fromkeys(filter(None, words)))


def _nodes(pods: Sequence[dict[str, Any]]) -> str:
    nodes = dict.fromkeys(str(pod["spec"].get("nodeName", "a node to be chosen")) for pod in pods)
    return f"on {', '.join(nodes)}" if nodes else ""
