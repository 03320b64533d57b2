"""The launcher `kubernetes`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

from pydantic import BaseModel

from cpt.contracts import JobRef, JobState, JobStatus, Launcher, Task
from cpt.errors import Fault, ResourceError
from cpt.kubectl import JOB_LABEL, Kubectl, KubectlError, by_node, has_current_context, pods_of
from cpt.recipe.document import write_document
from cpt_kubernetes.options import KubernetesOptions
from cpt_kubernetes.pytorch_job import CONTAINER, OURS, pytorch_job
from cpt_kubernetes.status import has_started, job_status

FILE = "pytorchjob.yaml"
RESOURCE = "pytorchjobs.kubeflow.org"
INSTALL = "Kubeflow's training operator (v1) brings it"


class KubernetesLauncher(Launcher):
    """A task is a Kubeflow PyTorchJob, each member of an array one of its own; a job's id is the PyTorchJob's name.

    kubectl talks to the cluster, with the credentials that it has. A job is created, never applied: the cluster ends its name with letters
    of its own, so that a run which goes on is a new job beside the ended one.
    """

    Options: type[BaseModel] = KubernetesOptions

    def __init__(self, options: BaseModel) -> None:
        super().__init__(options)
        assert isinstance(options, KubernetesOptions)
        self._wanted = options
        self._kubectl = Kubectl(options.context, options.namespace)

    @classmethod
    def is_offered_here(cls) -> bool:
        """Whether kubectl is here with a current context."""
        return has_current_context()

    def check(self, task: Task) -> None:
        """Asks the cluster, without creating anything, whether it would take `task`, and for each object that the options name.

        Raises:
            ResourceError: Every fault found, the cluster's in its own words.
        """
        faults = [*self._unfit(task), *self._refused(task), *self._missing()]
        if faults:
            raise ResourceError(*faults)

    def render(self, task: Task) -> Mapping[str, str]:
        """The one file, `pytorchjob.yaml`: a document a member, for `kubectl create -f`.

        Raises:
            ResourceError: What no cluster could run as it is.
        """
        if faults := list(self._unfit(task)):
            raise ResourceError(*faults)
        return {FILE: "".join(self._document(task, member) for member in range(task.members))}

    def submit(self, task: Task) -> tuple[str, ...]:
        """Creates every member's PyTorchJob, or none."""
        text = self.render(task)[FILE]
        task.folder.mkdir(parents=True, exist_ok=True)
        (task.folder / FILE).write_text(text)
        try:
            return _names(self._kubectl.run("create", "--filename=-", "--output=name", stdin=text))
        except KubectlError as error:
            for name in _names(error.printed):
                self._delete(name)
            raise

    def status(self, job: JobRef) -> JobStatus:
        """Where the PyTorchJob stands; cancelled, or unknown, once it is deleted."""
        found = self._kubectl.get(f"{RESOURCE}/{job.id}")
        return _status(job, found, [pod for _, pod in pods_of(self._kubectl, job.id)] if found else [])

    def statuses(self, jobs: Sequence[JobRef]) -> list[JobStatus]:
        """As `status`, for all with one request of kubectl."""
        if not jobs:
            return []
        [(label, value)] = OURS.items()
        found = self._kubectl.get(f"{RESOURCE},pods", f"--selector={label}={value}").get("items", [])
        by_name = {one["metadata"]["name"]: one for one in found if one["kind"] == "PyTorchJob"}
        pods: dict[str, list[dict[str, Any]]] = {}
        for pod in (one for one in found if one["kind"] == "Pod"):
            pods.setdefault(pod["metadata"]["labels"].get(JOB_LABEL, ""), []).append(pod)
        return [_status(job, by_name.get(job.id, {}), [pod for _, pod in by_node(pods.get(job.id, []))]) for job in jobs]

    def cancel(self, job: JobRef) -> None:
        """Deletes the PyTorchJob: its pods get SIGTERM and `grace_s` to commit, and it stays until they have ended."""
        if self.status(job).state.ended:
            return
        if Path(job.folder).is_dir():
            _cancelled(job).touch()
        self._delete(job.id)

    def logs(self, job: JobRef) -> Iterator[tuple[str, str]]:
        """The log of each pod that has started: all processes of a node together, as `node 0`."""
        for rank, pod in pods_of(self._kubectl, job.id):
            if has_started(pod):
                lines = self._kubectl.lines("logs", f"pods/{pod['metadata']['name']}", f"--container={CONTAINER}")
                yield from ((f"node {rank}", line) for line in lines)

    def _delete(self, name: str) -> None:
        self._kubectl.run("delete", f"{RESOURCE}/{name}", "--ignore-not-found", "--cascade=foreground", "--wait=false")

    def _document(self, task: Task, member: int) -> str:
        return f"---\n{write_document(pytorch_job(task, self._wanted, member))}"

    def _unfit(self, task: Task) -> Iterator[Fault]:
        """What this launcher cannot do, wherever the cluster is."""
        if task.after:
            yield Fault("launcher", "kubernetes", "a job cannot wait for others to end", "submit it when they have")
        if task.parallel is not None and task.parallel < task.members and not self._wanted.queue:
            cure = "launcher.options.queue=NAME, whose quota says how many run at once"
            yield Fault("sweeper.parallel", str(task.parallel), "without a Kueue queue all members start at once", cure)
        for path in _unmounted(task.argv[1:], self._wanted.volumes.values()):
            cure = "run.output and data.store on a volume that is mounted here and, by launcher.options.volumes.CLAIM=PATH, there"
            yield Fault("launcher.options.volumes", path, "the pods need this path, and no volume holds it", cure)

    def _refused(self, task: Task) -> Iterator[Fault]:
        """What the cluster says to a trial of the first member: no access, operator, namespace, permission or quota, a bad field."""
        try:
            self._kubectl.run("create", "--filename=-", "--dry-run=server", "--output=name", stdin=self._document(task, 0))
        except KubectlError as error:
            yield from [replace(fault, cure=INSTALL) if "no matches for kind" in error.words else fault for fault in error.faults]

    def _missing(self) -> Iterator[Fault]:
        """Objects that the options name and that are not there; one that may not be read is trusted to be."""
        wanted = self._wanted
        named = {
            "queue": ("localqueues.kueue.x-k8s.io", [wanted.queue]),
            "priority_class": ("priorityclasses.scheduling.k8s.io", [wanted.priority_class]),
            "service_account": ("serviceaccounts", [wanted.service_account]),
            "pull_secrets": ("secrets", wanted.pull_secrets),
            "env_from_secrets": ("secrets", wanted.env_from_secrets),
            "volumes": ("persistentvolumeclaims", wanted.volumes),
        }
        for option, (resource, names) in named.items():
            for name in filter(None, names):
                if words := self._absence(f"{resource}/{name}"):
                    yield Fault(f"launcher.options.{option}", name, words)

    def _absence(self, named: str) -> str:
        try:
            self._kubectl.run("get", named, "--output=name")
        except KubectlError as error:
            return error.words if "(NotFound)" in error.words or "doesn't have a resource type" in error.words else ""
        return ""


def _status(job: JobRef, found: dict[str, Any], pods: Sequence[dict[str, Any]]) -> JobStatus:
    """What a PyTorchJob and its pods say, by node; empty where it is gone, which a cancelled one is in the end."""
    if found:
        return job_status(found, pods)
    if _cancelled(job).exists():
        return JobStatus(JobState.CANCELLED)
    return JobStatus(JobState.UNKNOWN, f"the cluster has no PyTorchJob {job.id}")


def _cancelled(job: JobRef) -> Path:
    """Stands in the task's folder for a cancelled job, since the cluster forgets it."""
    return Path(job.folder) / f"cancel-{job.id}"


def _names(printed: str) -> tuple[str, ...]:
    """The names in what `--output=name` prints: `pytorchjob.kubeflow.org/NAME` a line."""
    return tuple(line.partition("/")[2] for line in printed.split())


def _unmounted(words: tuple[str, ...], mounts: Iterable[str]) -> list[str]:
    """The absolute paths among `words` that lie under none of `mounts`."""
    roots = [PurePosixPath(mount) for mount in mounts]
    return [word for word in words if word.startswith("/") and not any(PurePosixPath(word).is_relative_to(root) for root in roots)]
