"""Stands in for the program `sky` where there is no cloud: managed jobs whose nodes are processes here.

Takes the command lines that the launcher uses (the real program's parser is asked about those elsewhere), prints records with the real
ones' keys, and starts `run` as SkyPilot 0.14 does: an interactive bash per node, variables exported before it, lines prefixed by node.
"""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(os.environ["SKY_STAND_IN"])
ENDED = {True: "SUCCEEDED", False: "FAILED"}


def launch(file: str) -> None:
    tree = yaml.safe_load(Path(file).read_text())
    number = 1 + len(list(ROOT.glob("job-*")))
    folder = ROOT / f"job-{number}"
    folder.mkdir()
    nodes = tree["num_nodes"]
    state = {"job_id": number, "job_name": tree["name"], "nodes": [start(tree, folder, rank, nodes) for rank in range(nodes)]}
    (folder / "state.json").write_text(json.dumps(state))
    print(f"\033[36mManaged Job ID: {number}\033[0m")


def start(tree: dict[str, Any], folder: Path, rank: int, nodes: int) -> int:
    variables = {"SKYPILOT_NODE_RANK": str(rank), "SKYPILOT_NODE_IPS": "\n".join(["127.0.0.1"] * nodes), **tree.get("envs", {})}
    script = folder / f"node-{rank}.sh"
    exports = [f"export {name}={shlex.quote(value)}" for name, value in variables.items()]
    script.write_text("\n".join(["#!/bin/bash", *exports, tree["run"], ""]))
    nowhere = subprocess.DEVNULL
    argv = ["bash", "-c", 'bash -i "$0" > "$0.log" 2>&1; echo $? > "$0.code"', str(script)]
    return subprocess.Popen(argv, start_new_session=True, stdin=nowhere, stdout=nowhere, stderr=nowhere).pid


def record(folder: Path) -> dict[str, Any]:
    state = json.loads((folder / "state.json").read_text())
    codes = [path.read_text().strip() for path in folder.glob("*.code")]
    is_over = len(codes) == len(state["nodes"])
    status = "CANCELLED" if (folder / "cancelled").exists() else ENDED[set(codes) == {"0"}] if is_over else "RUNNING"
    return {"job_id": state["job_id"], "job_name": state["job_name"], "status": status, "failure_reason": None, "details": None}


def logs(number: str) -> None:
    folder = ROOT / f"job-{number}"
    files = sorted(folder.glob("*.log"))
    for rank, file in enumerate(files):
        who = f"head, rank={rank}" if len(files) > 1 else record(folder)["job_name"]
        for line in file.read_text().splitlines():
            print(f"\033[36m({who}, pid=1)\033[0m {line}")
    print("✓ Job finished (status: SUCCEEDED).")


def cancel(number: str) -> None:
    folder = ROOT / f"job-{number}"
    for pid in json.loads((folder / "state.json").read_text())["nodes"]:
        os.killpg(pid, signal.SIGKILL)
    (folder / "cancelled").touch()


def main(argv: list[str]) -> None:
    with (ROOT / "argvs").open("a") as file:
        file.write(json.dumps(argv) + "\n")
    match argv:
        case ["jobs", "launch", "--yes", "--detach-run", *_, "--", file]:
            if (ROOT / "refuses").exists() and len(list(ROOT.glob("job-*"))) >= 2:
                sys.exit("\033[31msky.exceptions.ResourcesUnavailableError\033[0m: no\n  H100 anywhere")
            launch(file)
        case ["jobs", "queue", "--all", "--output=json"]:
            print(json.dumps([record(folder) for folder in ROOT.glob("job-*")]))
        case ["jobs", "logs", "--no-follow", "--tail=0", "--", number]:
            logs(number)
        case ["jobs", "cancel", "--yes", "--", number]:
            cancel(number)
        case _:
            sys.exit(f"unknown: {argv}")


main(sys.argv[1:])
