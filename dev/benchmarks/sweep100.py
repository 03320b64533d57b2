"""A sweep of 100 members on this machine's CPU, while its driver and its members are killed: `nox -s sweep100`.

Ends with the figures, or with what went wrong. Everything happens in a folder of its own that is removed at the end.
"""

from __future__ import annotations

import csv
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

AXES = ("optim.lr=1e-4,2e-4,5e-4,1e-3,2e-3,5e-3,1e-2,2e-2,5e-2,1e-1", "model.hidden_dropout=0,0.05,0.1,0.15,0.2", "run.seed=1,2")
WORDS = (
    "train", "-m", "model.init=random", "data.train=domain.jsonl", "train.max_length=64", "train.global_batch_size=8", "train.max_steps=4",
    "train.validate_every=2", "checkpoint.every=1", "eval.max_tokens=0", "logger=[]", "sched.min_lr=1e-7", "run.name=hundred", *AXES,
)  # fmt: skip
MEMBERS = 100
DRIVER_KILLS = ((8, signal.SIGKILL), (30, signal.SIGKILL), (55, signal.SIGINT), (75, signal.SIGTERM))
"""When so many members are done, the driver is sent this signal."""
MEMBER_KILLS = (4, 18, 42, 66, 90)
"""When so many members are done, one that runs is killed."""


def write_data(folder: Path) -> None:
    """60 documents about a made-up machine."""
    lines = (f"Valve {n} of the press opens at {n * 7 % 40} bar and closes at {n * 3 % 20} bar; check seal {n % 9}." for n in range(60))
    (folder / "domain.jsonl").write_text("".join(json.dumps({"text": line}) + "\n" for line in lines))


def completed(folder: Path) -> dict[str, int]:
    """When the manifest of each member that is done was last written, in nanoseconds."""
    manifests = (folder / "outputs/hundred").glob("*/manifest.json")
    return {file.parent.name: file.stat().st_mtime_ns for file in manifests if json.loads(file.read_bytes())["status"] == "completed"}


def processes(folder: Path) -> Iterator[tuple[int, str]]:
    """The processes of this sweep's members, and the paths that they were given."""
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            words = (entry / "cmdline").read_bytes().decode().split("\0")
        except OSError:
            continue
        if {"cpt.node", "cpt.worker"} & set(words):
            yield from ((int(entry.name), word) for word in words if word.startswith(str(folder)))


def in_the_middle(folder: Path) -> list[int]:
    """The processes of members that have begun to train and are not done."""
    done = completed(folder)
    members = [file.parent for file in (folder / "outputs/hundred").glob("*/metrics.jsonl") if file.parent.name not in done]
    return [pid for pid, path in processes(folder) if any(Path(path).is_relative_to(member) for member in members)]


def drive(folder: Path, kills: list[tuple[int, signal.Signals]], member_kills: list[int]) -> int:
    """Runs the command once, with the next kills as they are due, and returns its exit code."""
    driver = subprocess.Popen([sys.executable, "-m", "cpt", *WORDS], cwd=folder, stdout=(folder / "stdout").open("w"))  # noqa: S603
    while driver.poll() is None:
        done = len(completed(folder))
        if member_kills and done >= member_kills[0] and (running := in_the_middle(folder)):
            os.kill(random.Random(done).choice(running), signal.SIGKILL)  # noqa: S311
            print(f"-- {done} done: a member killed", flush=True)
            member_kills.pop(0)
        if kills and done >= kills[0][0]:
            number = kills.pop(0)[1]
            print(f"-- {done} done: {number.name} to the driver", flush=True)
            driver.send_signal(number)
            driver.wait()
        time.sleep(0.05)
    return driver.returncode


def check(folder: Path) -> None:
    """Each member is complete, each step stands in its metrics once, and the table has them all."""
    for member in (folder / "outputs/hundred").iterdir():
        if member.is_dir() and (member / "manifest.json").exists():
            steps = [json.loads(line)["step"] for line in (member / "metrics.jsonl").read_text().splitlines()]
            assert steps == [0, 1, 2, 3, 4], (member.name, steps)
    rows = list(csv.DictReader((folder / "outputs/hundred/sweep.csv").open()))
    assert len(rows) == MEMBERS, len(rows)
    assert {row["state"] for row in rows} == {"completed"}, rows
    stores = list((folder / "cache/cpt/stores").glob("*/"))
    print(f"stores and tokenizers prepared: {len(stores)}")


def main() -> None:
    """Runs the sweep to its end."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        write_data(folder)
        os.environ["XDG_CACHE_HOME"] = str(folder / "cache")
        kills, member_kills, began, commands, before = list(DRIVER_KILLS), list(MEMBER_KILLS), time.monotonic(), 0, dict[str, int]()
        while True:
            code = drive(folder, kills, member_kills)
            commands += 1
            time.sleep(1.0)
            left = list(processes(folder))
            assert not left, f"processes outlived the driver: {left}"
            after = completed(folder)
            assert {label: after.get(label) for label in before} == before, "a member that was done was run again"
            before = after
            print(f"-- command {commands} ended with {code}: {len(after)} of {MEMBERS} done, {time.monotonic() - began:.0f} s", flush=True)
            if code == 0:
                break
            assert commands < 20, "it does not end"
        assert not kills, kills
        assert not member_kills, member_kills
        check(folder)
        print((folder / "stdout").read_text())
        print(f"{MEMBERS} members, {commands} commands, {time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    main()
