"""From a task to a SkyPilot task file: pure functions.

SkyPilot starts `run` with bash on every node and tells it `SKYPILOT_NODE_RANK` and `SKYPILOT_NODE_IPS`, a line a node, the head first. So
shell text it is: the lines below and the task's argv as `shlex.join` quotes it.
"""

from __future__ import annotations

import hashlib
import re
import shlex
from collections.abc import Mapping
from typing import Any

from cpt.contracts import Task
from cpt.errors import EXIT_PREEMPTED, Fault, ResourceError
from cpt_skypilot.options import SkypilotOptions

PORT = 29_400
PLACE = f"""\
export NODE_RANK="$SKYPILOT_NODE_RANK"
export MASTER_ADDR="${{SKYPILOT_NODE_IPS%%$'\\n'*}}"
export MASTER_PORT={PORT}
"""
"""The node's place among the others."""


def sky_task(task: Task, options: SkypilotOptions, member: int) -> dict[str, Any]:
    """The SkyPilot task of one member of `task`.

    Raises:
        ResourceError: It needs GPUs, and nobody said of which kind.
    """
    numbered = {"CPT_MEMBER": str(member)} if task.members > 1 else {}
    pip = [options.python, "-m", "pip", "install", *options.packages]
    return _given(
        {
            "name": job_name(task),
            "num_nodes": task.nodes,
            "resources": _resources(task, options),
            "envs": {**options.env, **task.env, **numbered},
            "volumes": options.volumes,
            "setup": shlex.join(pip) + "\n" if options.packages else None,
            "run": f"{PLACE}exec {shlex.join([options.python, *task.argv[1:]])}\n",
        }
    )


def job_name(task: Task) -> str:
    """The task's name, beginning with a letter, as SkyPilot wants it; by its end known from other runs that are called the same."""
    legal = re.sub(r"[^a-z0-9]+", "-", task.name.lower()).strip("-")
    legal = legal if legal[:1].isalpha() else f"cpt-{legal}"
    return f"{legal}-{hashlib.sha256(str(task.folder).encode()).hexdigest()[:5]}"


def _resources(task: Task, options: SkypilotOptions) -> dict[str, Any]:
    if task.gpus_per_node and not options.accelerator:
        cure = "launcher.options.accelerator=H100, or another name of `sky gpus list`"
        raise ResourceError(Fault("launcher.options.accelerator", "null", f"the run needs {task.gpus_per_node} GPUs a node", cure))
    recovery = {"max_restarts_on_errors": options.restarts, "recover_on_exit_codes": [EXIT_PREEMPTED]}
    return _given(
        {
            "infra": options.infra,
            "instance_type": options.instance_type,
            "accelerators": f"{options.accelerator}:{task.gpus_per_node}" if task.gpus_per_node else None,
            "cpus": options.cpus,
            "memory": options.memory_gb,
            "disk_size": options.disk_gb,
            "network_tier": options.network_tier,
            "image_id": options.image,
            "use_spot": options.use_spot,
            "labels": options.labels,
            "job_recovery": recovery,
        }
    )


def _given(fields: Mapping[str, Any]) -> dict[str, Any]:
    """`fields` without those that say nothing."""
    return {name: value for name, value in fields.items() if value is not None and value != {}}
