"""One shard task: tokenises its share of a data set's parts, each into a committed folder. `cpt.data.parts` plans and joins them.

    CPT_MEMBER=3 python -m cpt.data.shard JOB --members 8 --processes 4

is member 3 of 8, on four processes (0: one a core that it may use). JOB is a folder with `shards.json` and the tokenizer. The same argv
again does only what is missing; whoever runs it, the bytes are the same. On stdout it says how far it is, a JSON object a line.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TextIO

from pydantic import JsonValue

from cpt import plugins, storage
from cpt.contracts import DataSource
from cpt.cores import cores
from cpt.data.processes import run_members
from cpt.data.progress import Progress, onwards
from cpt.data.store import TokenStore, local_root, write_store
from cpt.data.tokenizer import TextTokenizer
from cpt.errors import EXIT_DONE, EXIT_PREEMPTED, EXIT_USER, Fault, UserError

JOB_FILE = "shards.json"
TELL_EVERY_S = 0.5


@dataclass(frozen=True)
class Shard:
    """A part of a data set, and the folder that its tokens go to.

    Args:
        name: The folder's name below the root of the stores: `<key of the store>.parts/NNNNN-of-MMMMM`.
        fingerprint: SHA-256 (hex) of the whole data set's content.
        part: What `DataSource.part_documents` reads.
    """

    name: str
    fingerprint: str
    part: JsonValue

    @property
    def store(self) -> str:
        """The folder's name of the store that it is a part of."""
        return self.name.partition(".parts/")[0]


@dataclass(frozen=True)
class ShardJob:
    """Shards for any number of processes of any machine that reaches the data and the root.

    Args:
        source: Name of the data source.
        options: Its settings, as the recipe gives them.
        tokenizer: Makes the ids.
        root: Folder or URL that the shards' folders stand in.
        shards: What is to do.
    """

    source: str
    options: Mapping[str, object]
    tokenizer: TextTokenizer
    root: str
    shards: Sequence[Shard]

    def save(self, folder: Path) -> None:
        """Writes the job for other processes, for its owner's eyes only: the options may hold what the environment gave."""
        self.tokenizer.save(folder / "tokenizer")
        ends = {"eos_id": self.tokenizer.eos_id, "bos_id": self.tokenizer.bos_id}
        source = {"source": self.source, "options": self.options}
        job = {**source, "tokenizer": ends, "root": self.root, "shards": [asdict(shard) for shard in self.shards]}
        storage.write_private(folder / JOB_FILE, json.dumps(job))

    @classmethod
    def open(cls, folder: Path) -> ShardJob:
        """What `save` wrote."""
        job = json.loads(storage.read_bytes(str(folder / JOB_FILE)))
        tokenizer = TextTokenizer.open(folder / "tokenizer", **job["tokenizer"])
        return cls(job["source"], job["options"], tokenizer, job["root"], [Shard(**shard) for shard in job["shards"]])

    def run(self, member: int, members: int, progress: Progress) -> None:
        """Tokenises every `members`-th shard from `member` on, unless it is there, or its store is: another may have joined it.

        Raises:
            UserError: The data cannot be read or has changed, or a shard not be written.
        """
        loaded, options = plugins.load("data_sources", self.source, self.options, "data.source")
        source: DataSource = loaded(options)
        documents = size_bytes = 0
        for shard in self.shards[member::members]:
            location = storage.join(self.root, shard.name)
            if not self._is_done(shard):
                header = self._write(source, shard, location, onwards(progress, documents, size_bytes))
                documents, size_bytes = documents + header["documents"], size_bytes + header["text_bytes"]
                self._give_way(shard)

    def _write(self, source: DataSource, shard: Shard, location: str, progress: Progress) -> dict[str, Any]:
        """Tokenises a shard and returns its header."""
        with tempfile.TemporaryDirectory() as scratch:
            target = Path(scratch, "shard") if storage.is_url(location) else storage.local_path(location)
            with storage.committed_folder(target) as unfinished:
                write_store(unfinished, source.part_documents(shard.part), shard.fingerprint, self.tokenizer, progress)
            if storage.is_url(location):
                storage.publish_folder(target, location)
            return TokenStore(target).header

    def _is_done(self, shard: Shard) -> bool:
        return any(_is_there(storage.join(self.root, name)) for name in (shard.name, shard.store))

    def _give_way(self, shard: Shard) -> None:
        """Removes a shard whose store was joined meanwhile: nobody else would."""
        if _is_there(storage.join(self.root, shard.store)):
            storage.remove(storage.join(self.root, shard.name))
            with suppress(OSError):  # others are there
                (local_root(self.root) / shard.name).parent.rmdir()


def _is_there(location: str) -> bool:
    if storage.is_url(location):
        return storage.exists(storage.join(location, storage.MARKER))
    return storage.is_whole(storage.local_path(location))


class Told:
    """Progress as JSON lines, of what was added since the last one; and faults.

    Args:
        stream: Where to write.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream, self._told_at = stream, 0.0
        self._at = self._told = (0, 0)

    def __call__(self, stage: str, documents: int, size_bytes: int) -> None:  # noqa: ARG002  there is one stage
        """Takes what is done so far."""
        self._at = (documents, size_bytes)
        if time.monotonic() - self._told_at > TELL_EVERY_S:
            self.flush()

    def flush(self) -> None:
        """Tells what was not told yet."""
        documents, size_bytes = (now - before for now, before in zip(self._at, self._told, strict=True))
        self._write({"documents": documents, "size_bytes": size_bytes})
        self._told, self._told_at = self._at, time.monotonic()

    def fault(self, fault: Fault) -> None:
        """Tells why it ends."""
        self._write({"fault": asdict(fault)})

    def _write(self, line: dict[str, Any]) -> None:
        print(json.dumps(line), file=self._stream, flush=True)


def argv_of(folder: Path, members: int, processes: int) -> tuple[str, ...]:
    """The command of a member of the job in `folder`; which one it is, `CPT_MEMBER` says. 0 processes: one a core, wherever it runs."""
    return (sys.executable, "-m", "cpt.data.shard", str(folder), "--members", str(members), "--processes", str(processes))


def main(argv: Sequence[str]) -> int:
    """Runs a member and returns its exit code."""
    parser = argparse.ArgumentParser("cpt.data.shard", description="Tokenises a share of a data set.")
    parser.add_argument("job", type=Path, help="folder of the job")
    parser.add_argument("--members", type=int, default=1)
    parser.add_argument("--processes", type=int, default=1)
    asked = parser.parse_args(argv)
    for number in (signal.SIGTERM, signal.SIGUSR1):
        signal.signal(number, lambda *_: sys.exit(EXIT_PREEMPTED))
    told = Told(os.fdopen(os.dup(1), "w"))
    os.dup2(2, 1)  # what a data source prints is none of the lines that are read
    try:
        run_share(asked.job, asked.members, asked.processes, told)
    except UserError as error:
        for fault in error.faults:
            told.fault(fault)
            print(f"error: {fault}", file=sys.stderr)
        return EXIT_USER
    finally:
        told.flush()
    return EXIT_DONE


def run_share(folder: Path, members: int, processes: int, told: Told) -> None:
    """Runs the member that `CPT_MEMBER` names, by several processes where there is work for them.

    Args:
        folder: The job's.
        members: How many share the job.
        processes: How many may work for this one; 0: one a core that it may use.
        told: Told of what is done.

    Raises:
        UserError: See `ShardJob.run`.
    """
    member, job = int(os.environ.get("CPT_MEMBER", "0")), ShardJob.open(folder)
    processes = min(processes or cores(), len(job.shards[member::members]))
    if processes <= 1:
        job.run(member, members, told)
        return
    sharing = range(member, members * processes, members)  # those that share this member's shards among them
    run_members(argv_of(folder, members * processes, 1), sharing, told)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
