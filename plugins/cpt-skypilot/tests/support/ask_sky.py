"""Run by a Python that has SkyPilot: reads a question as JSON, answers as JSON on the last line.

`{"load": FILES}`: what SkyPilot's loader makes of each. `{"parse": ARGVS}`: what its command line makes of each. `{"states": null}`: its
states of a managed job, and a record's keys.
"""

import json
import sys

import sky
from sky.client.cli import command
from sky.jobs.state import ManagedJobStatus
from sky.schemas.api.responses import ManagedJobRecord


def load(path: str) -> dict:
    task = sky.Task.from_yaml(path)
    [resources] = task.resources
    described = {
        key: str(getattr(resources, key)) for key in ("accelerators", "region", "use_spot", "cpus", "memory", "image_id", "disk_size")
    }
    kept = {"name": task.name, "nodes": task.num_nodes, "run": task.run, "setup": task.setup, "envs": task.envs}
    return {**kept, "resources": described, "recovery": resources.job_recovery, "infra": str(resources.infra.to_str())}


def parse(argv: list[str]) -> dict:
    verb = command.cli
    for name in argv[:2]:
        verb = verb.get_command(None, name)
    given = verb.make_context(argv[1], argv[2:]).params
    said = {key: value for key, value in given.items() if value is not None and value is not False and value != ()}
    return {key: list(value) if isinstance(value, tuple) else value for key, value in said.items()}


def answer(question: dict) -> object:
    if "load" in question:
        return [load(path) for path in question["load"]]
    if "parse" in question:
        return [parse(argv) for argv in question["parse"]]
    return {"states": [state.value for state in ManagedJobStatus], "keys": list(ManagedJobRecord.model_fields)}


print(json.dumps(answer(json.load(sys.stdin)), default=str))
