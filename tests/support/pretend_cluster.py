"""A cluster on this machine, for tests of everything between the command line and a launcher: each node is a process group.

`install(folder)` makes it the launcher `pretend` of processes that have `folder` on their PYTHONPATH.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

from cpt.contracts import LauncherOptions, Task
from cpt.errors import ResourceError
from cpt.launch.local import LocalLauncher


class PretendOptions(LauncherOptions):
    fails: bool = False
    word: str = ""


class PretendCluster(LocalLauncher):
    """Starts a task's nodes side by side on this machine, as jobs in the background that outlive the command."""

    Options = PretendOptions
    options: PretendOptions
    outlives_command = True

    @classmethod
    def is_offered_here(cls) -> bool:
        return True

    def check(self, task: Task) -> None: ...

    def submit(self, task: Task) -> tuple[str, ...]:
        if self.options.fails:
            raise ResourceError("pretend", task.name, "the queue is closed", "Come back")
        argv = (sys.executable, "-m", "pretend_cluster", str(task.nodes), *task.argv)
        return super().submit(replace(task, argv=argv, nodes=1, gpus_per_node=0))


def install(folder: Path) -> dict[str, str]:
    """Writes the metadata of an installed package, and returns the environment in which it is one."""
    info = folder / "pretend_cluster-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: pretend-cluster\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[cpt.launchers]\npretend = pretend_cluster:PretendCluster\n")
    return {"PYTHONPATH": os.pathsep.join([str(folder), str(Path(__file__).parent)])}


def main(nodes: str, *argv: str) -> int:
    """Runs `argv` on each node; the exit code of the first that failed, else the highest."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(unused.getsockname()[1])}
    envs = [dict(os.environ) | place | {"NODE_RANK": str(node)} for node in range(int(nodes))]
    if len(envs) == 1:
        os.execve(argv[0], argv, envs[0])
    child = [sys.executable, "-m", "cpt.launch.child", str(os.getpid())]
    processes = [subprocess.Popen([*child, *argv], env=env) for env in envs]
    signal.signal(signal.SIGTERM, lambda number, _: [process.send_signal(number) for process in processes])
    return max(process.wait() for process in processes)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
