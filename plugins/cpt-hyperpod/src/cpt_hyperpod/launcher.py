"""`launcher=hyperpod`: Amazon's engine trains Nova on a restricted instance group of a SageMaker HyperPod cluster."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import ClassVar

import yaml
from pydantic import BaseModel

from cpt.contracts import JobRef, JobState, JobStatus, Launcher, Task
from cpt.errors import CheckpointError, Fault, ResourceError
from cpt.kubectl import Kubectl
from cpt.recipe import amazon
from cpt_hyperpod import images, preflight
from cpt_hyperpod.aws import Aws
from cpt_hyperpod.nova_job import NovaJob, nova_job
from cpt_hyperpod.objects import ACCOUNT_PLACEHOLDER, CONFIG_FILE, config_map_name, objects, to_yaml
from cpt_hyperpod.options import HyperpodOptions
from cpt_hyperpod.overrides import override_parameters
from cpt_hyperpod.pods import image_digest, lines
from cpt_hyperpod.s3 import checkpoint_of

MANIFEST, RECIPE = "pytorchjob.yaml", "recipe.yaml"
STATES = {"Succeeded": JobState.COMPLETED, "Failed": JobState.FAILED, "Running": JobState.RUNNING}
"""The state that a PyTorchJob's condition means; of all others (Created, Restarting, Suspended): queued."""

logger = logging.getLogger(__name__)


class HyperpodLauncher(Launcher):
    """Renders what Amazon's own launcher would, checks it against the account, submits it with kubectl and follows it.

    `launcher=auto` never chooses it: what it submits costs money by the second, and open models are nothing for it.
    """

    Options: type[BaseModel] = HyperpodOptions
    takes_recipe: ClassVar[bool] = True

    def __init__(self, options: BaseModel) -> None:
        assert isinstance(options, HyperpodOptions)
        super().__init__(options)
        self._options = options
        self._kubectl = Kubectl(options.context, options.namespace, connect="hyperpod connect-cluster")

    def check(self, task: Task) -> None:
        """Holds the job against the account, the cluster, the buckets and the Kubernetes API; warns of images that move."""
        job = nova_job(task, self._options)
        if faults := preflight.faults(job, self._options, self._kubectl):
            raise ResourceError.of(faults)
        for key, image in (("image", job.image), ("init_image", job.init_image)):
            if images.moves(image):
                logger.warning("warning: launcher.options.%s: %s may be another build tomorrow: pin it by @sha256:...", key, image)

    def render(self, task: Task) -> Mapping[str, str]:
        """Amazon's PyTorchJob and ConfigMap, its recipe by itself, and the override parameters of its own command line."""
        return self._files(nova_job(task, self._options), self._options.account or ACCOUNT_PLACEHOLDER)

    def submit(self, task: Task) -> tuple[str, ...]:
        """Applies the objects with kubectl. A job of the same recipe that has failed makes way; one that lives or is done is refused."""
        job = nova_job(task, self._options)
        account = self._options.account or preflight.account(self._options)
        task.folder.mkdir(parents=True, exist_ok=True)
        for name, text in self._files(job, account).items():
            (task.folder / name).write_text(text, encoding="utf-8")
        self._make_way(job)
        _cancelled(task.folder, job.name).unlink(missing_ok=True)
        self._kubectl.run("apply", f"--filename={task.folder / MANIFEST}")
        return (job.name,)

    def status(self, job: JobRef) -> JobStatus:
        """The newest of the PyTorchJob's conditions that holds."""
        found = self._kubectl.get(f"{preflight.JOBS}/{job.id}")
        if not found and _cancelled(Path(job.folder), job.id).exists():
            return JobStatus(JobState.CANCELLED)
        if not found:
            return JobStatus(JobState.UNKNOWN, f"no such job in the namespace {self._options.namespace}: deleted")
        holding = [condition for condition in found.get("status", {}).get("conditions", []) if condition.get("status") == "True"]
        if not holding:
            return JobStatus(JobState.QUEUED, "not seen by the training operator yet")
        newest = holding[-1]
        return JobStatus(STATES.get(newest["type"], JobState.QUEUED), newest.get("message") or newest.get("reason", ""))

    def cancel(self, job: JobRef) -> None:
        """Deletes the PyTorchJob and its ConfigMap. Amazon's engine commits nothing on the way: what was trained is lost."""
        if self.status(job).state.ended:
            return
        if Path(job.folder).is_dir():
            _cancelled(Path(job.folder), job.id).touch()
        self._delete(job.id)

    def logs(self, job: JobRef) -> Iterator[tuple[str, str]]:
        """What each node's container has written, its init container first: `node 0` is the master."""
        return lines(self._kubectl, job.id)

    def results(self, job: JobRef) -> Mapping[str, object]:
        """The checkpoint that Amazon's manifest names, where that manifest is, and the build of the image that trained.

        Raises:
            CheckpointError: The job has no manifest, or it names no checkpoint.
        """
        manifest = f"{self._output(job).rstrip('/')}/{job.id}/manifest.json"
        checkpoint = checkpoint_of(Aws(self._options.region), manifest)
        engine = {"job": job.id, "manifest": manifest, "image": image_digest(self._kubectl, job.id)}
        return {"checkpoint_s3_bucket": checkpoint, "amazon": engine}

    def _files(self, job: NovaJob, account: str) -> dict[str, str]:
        return {
            MANIFEST: to_yaml(objects(job, self._options, account)),
            RECIPE: amazon.render(job.recipe),
            "override-parameters.json": override_parameters(job),
        }

    def _output(self, job: JobRef) -> str:
        """Where the job writes, as the recipe in its folder says; from another machine, as its ConfigMap does."""
        file = Path(job.folder) / RECIPE
        if file.exists():
            text = file.read_text(encoding="utf-8")
        elif found := self._kubectl.get(f"configmaps/{config_map_name(job.id)}"):
            text = found["data"][CONFIG_FILE]
        else:
            cure = "Name the s3://.../manifest.json under its output as model.init"
            raise CheckpointError("configmap", config_map_name(job.id), "is gone, and with it where the job has written", cure)
        return str(yaml.safe_load(text)["run"]["output_s3_path"])

    def _make_way(self, job: NovaJob) -> None:
        state = self.status(JobRef(job.name, job.name, "")).state
        if state is JobState.COMPLETED:
            rule, cure = "the same recipe has been trained by this job already", "Take its checkpoint, or give a new run another run.name"
            raise ResourceError(Fault("launcher.name", job.name, rule, cure))
        if not state.ended:
            rule = "the same recipe is submitted already, and the job has not ended"
            raise ResourceError(Fault("launcher.name", job.name, rule, "Follow it with cpt jobs wait, or cancel it first"))
        if state is JobState.FAILED:
            self._delete(job.name)

    def _delete(self, name: str) -> None:
        objects_of_it = (f"{preflight.JOBS}/{name}", f"configmaps/{config_map_name(name)}")
        self._kubectl.run("delete", *objects_of_it, "--ignore-not-found", "--wait=true")


def _cancelled(folder: Path, job: str) -> Path:
    """Stands in the task's folder for a cancelled job, since the cluster forgets it."""
    return folder / f"cancel-{job}"
