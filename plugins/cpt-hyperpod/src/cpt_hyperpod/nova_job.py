"""What a task asks of Amazon's engine: its recipe, and where that runs."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from cpt.contracts import Task
from cpt.errors import Fault, RecipeError
from cpt.recipe.amazon import to_amazon
from cpt.recipe.schema import Recipe
from cpt_hyperpod import images
from cpt_hyperpod.options import HyperpodOptions

NAME_LENGTH, SUFFIX_LENGTH = 34, 5
"""What Amazon's launcher keeps of a run's name, and what it adds after a dash."""


@dataclass(frozen=True)
class NovaJob:
    """A job of Amazon's engine.

    Args:
        name: Of the job, its ConfigMap and its folder under the output.
        recipe: Amazon's recipe.
        instance_type: Of its nodes, with `ml.`.
        image: What trains.
        init_image: What prepares each node.
    """

    name: str
    recipe: Mapping[str, Any]
    instance_type: str
    image: str
    init_image: str

    @property
    def nodes(self) -> int:
        """Nodes, one pod each."""
        return int(self.recipe["run"]["replicas"])

    @property
    def engine_recipe(self) -> dict[str, Any]:
        """The recipe as the engine reads it: named after the job."""
        return {**self.recipe, "run": {**self.recipe["run"], "name": self.name}}


def nova_job(task: Task, options: HyperpodOptions) -> NovaJob:
    """The job that `task` asks for; the same task, the same job.

    Raises:
        RecipeError: It asks for what Amazon's engine cannot do; every fault.
    """
    faults = list(_task_faults(task))
    if task.recipe is None:
        raise RecipeError.of(faults)
    recipe = Recipe.model_validate_json(json.dumps(task.recipe))
    try:
        amazons = to_amazon(recipe)
    except RecipeError as error:
        raise RecipeError.of([*error.faults, *faults]) from None
    image = options.image or images.training_image(options.region, amazons["run"]["model_type"])
    init_image = options.init_image or images.init_image(options.region)
    instance_type = options.instance_type or f"ml.{(recipe.cluster.instance_type or '').removeprefix('ml.')}"
    if faults := [*faults, *_image_faults(options.region, image, init_image), *_instance_faults(instance_type)]:
        raise RecipeError.of(faults)
    assert image is not None
    assert init_image is not None
    amazons["run"]["name"] = task.name[:NAME_LENGTH].rstrip("-")
    return NovaJob(f"{amazons['run']['name']}-{_suffix(amazons)}", amazons, instance_type, image, init_image)


def _task_faults(task: Task) -> Iterator[Fault]:
    if task.recipe is None:
        yield Fault("launcher.name", "hyperpod", "Amazon's engine trains recipes and runs no other command", "Use another launcher")
    if task.members > 1:
        yield Fault("launcher.name", "hyperpod", "takes one run a job", f"Submit the {task.members} members one by one")
    if task.after:
        yield Fault("launcher.name", "hyperpod", "a job cannot wait for another", "Submit it once that one has ended")


def _image_faults(region: str, image: str | None, init_image: str | None) -> Iterator[Fault]:
    for key, uri, registries in (("image", image, images.REGISTRIES), ("init_image", init_image, images.INIT_REGISTRIES)):
        if uri is None:
            known = ", ".join(registries)
            cure = f"Give launcher.options.{key}=URI, or a region of these: {known}"
            yield Fault(f"launcher.options.{key}", "null", f"Amazon publishes no such image in {region}", cure)


def _instance_faults(instance_type: str) -> Iterator[Fault]:
    if instance_type not in INSTANCES:
        yield Fault("cluster.instance_type", instance_type, f"Amazon trains Nova on {', '.join(INSTANCES)}", "Use a cluster of these")


def _suffix(recipe: Mapping[str, Any]) -> str:
    """What sets the job apart from others of its name. Amazon's launcher draws it; here the same recipe gives the same, so that a
    submission that is repeated by mistake meets the job that it would double."""
    digest = hashlib.sha256(json.dumps(recipe, sort_keys=True).encode()).digest()
    return base64.b32encode(digest).decode().lower()[:SUFFIX_LENGTH]


@dataclass(frozen=True)
class Instance:
    """What a node of an instance type has.

    Args:
        gpus: GPUs.
        efa: EFA network interfaces.
    """

    gpus: int
    efa: int


INSTANCES = {"ml.p5.48xlarge": Instance(8, 32), "ml.p5e.48xlarge": Instance(8, 32), "ml.p5en.48xlarge": Instance(8, 16)}
