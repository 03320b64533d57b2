"""The supervisor of local jobs: `python -m cpt.launch.background MEMBERS PARALLEL GPUS FOLDER ARGV...`.

Runs ARGV once for each member, at most PARALLEL at once, each with its share of the GPUs, and leaves in `FOLDER/logs` what each wrote, its
process, and its exit code. SIGINT, SIGTERM and SIGUSR1 are passed on to all that run, and keep the rest from beginning.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cpt.errors import EXIT_PREEMPTED
from cpt.launch.child import STOP_CODES
from cpt.launch.machine import start_time

POLL_S = 0.05


@dataclass(frozen=True)
class MemberFiles:
    """What is left of a member, in files that any process may read.

    Args:
        folder: The task's folder.
        member: The member's number, from 0.
    """

    folder: Path
    member: int

    @property
    def log(self) -> Path:
        """What it wrote."""
        return self._file("log")

    def forget(self) -> None:
        """Removes what an earlier job left; its output stays."""
        for suffix in ("pid", "exit", "cancel"):
            self._file(suffix).unlink(missing_ok=True)

    def pid(self) -> tuple[int, str] | None:
        """The member's process and when it started; None before it began."""
        pid, _, started = self._read("pid").partition(" ")
        return (int(pid), started) if pid else None

    def exit_code(self) -> int | None:
        """How it ended; None before."""
        text = self._read("exit")
        return int(text) if text else None

    def is_cancelled(self) -> bool:
        """Whether it was asked to end."""
        return self._file("cancel").exists()

    def cancel(self) -> None:
        """Keeps the member from beginning."""
        self._file("cancel").touch()

    def begin(self, pid: int) -> None:
        """Notes its process."""
        self._write("pid", f"{pid} {start_time(pid)}")

    def end(self, code: int) -> None:
        """Notes its exit code."""
        self._write("exit", str(code))

    def _file(self, suffix: str) -> Path:
        return self.folder / "logs" / f"member-{self.member}.{suffix}"

    def _read(self, suffix: str) -> str:
        file = self._file(suffix)
        return file.read_text() if file.exists() else ""

    def _write(self, suffix: str, text: str) -> None:
        partial = self._file(f"{suffix}-partial")
        partial.write_text(text)
        partial.replace(self._file(suffix))


class _Supervisor:
    """The members that run, by slot, and those that wait."""

    def __init__(self, folder: Path, argv: Sequence[str], parallel: int, gpus: int) -> None:
        self.folder, self.argv, self.gpus = folder, argv, gpus
        self.running: dict[int, tuple[MemberFiles, subprocess.Popen[bytes]]] = {}
        self.slots = range(parallel)
        self.stopping = False

    def run(self, members: int) -> None:
        """Runs all members to their end."""
        waiting = list(range(members))
        while waiting or self.running:
            for slot in [slot for slot in self.slots if slot not in self.running and waiting]:
                self._begin(slot, MemberFiles(self.folder, waiting.pop(0)))
            for slot, (files, process) in list(self.running.items()):
                if process.poll() is not None:
                    files.end(process.returncode if process.returncode >= 0 else STOP_CODES.get(signal.Signals(-process.returncode), 1))
                    del self.running[slot]
            time.sleep(POLL_S)

    def _begin(self, slot: int, files: MemberFiles) -> None:
        if self.stopping or files.is_cancelled():
            files.end(EXIT_PREEMPTED)
            return
        visible = {"CUDA_VISIBLE_DEVICES": ",".join(_visible()[slot * self.gpus : (slot + 1) * self.gpus])} if self.gpus else {}
        env = dict(os.environ) | visible | {"CPT_MEMBER": str(files.member)}
        argv = [sys.executable, "-m", "cpt.launch.child", str(os.getpid()), *self.argv]
        with files.log.open("ab") as log:
            process = subprocess.Popen(argv, env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)  # noqa: S603
        files.begin(process.pid)
        self.running[slot] = (files, process)
        if files.is_cancelled():  # between the look above and the note: nobody could know whom to tell
            process.send_signal(signal.SIGTERM)

    def stop(self, number: int, *_: object) -> None:
        """Passes a signal on."""
        self.stopping = True
        for _files, process in self.running.values():
            process.send_signal(number)


def _visible() -> list[str]:
    """The GPUs that this process may use, by the names that CUDA takes."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    return named.split(",") if named else [str(number) for number in range(64)]


def main(members: str, parallel: str, gpus: str, folder: str, *argv: str) -> None:
    """Runs the members."""
    Path(folder, "logs").mkdir(parents=True, exist_ok=True)
    supervisor = _Supervisor(Path(folder), argv, int(parallel), int(gpus))
    for number in STOP_CODES:
        signal.signal(number, supervisor.stop)
    supervisor.run(int(members))


if __name__ == "__main__":
    main(*sys.argv[1:])
