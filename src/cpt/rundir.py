"""The run directory: `<run.output>/<run.name>`, a folder or a URL; its layout, its manifest, its checkpoints.

    recipe.yaml recipe.json      as composed, and typed
    manifest.json                what the run is and how far it came
    metrics.jsonl metrics.csv samples.jsonl tensorboard/ loggers/
    checkpoints/step-00000100/   committed folders (`cpt.storage`)
    final/                       the model, a Hugging Face folder
    job/                         what the command hands its processes; local only

A run at a URL is worked on in a spool in the user's cache and published at each commit: metrics and events, then the checkpoint, then
the manifest. Losing the spool loses nothing that was committed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from cpt import storage
from cpt.errors import CheckpointError, Fault, StorageError
from cpt.metrics import MetricsFile

MANIFEST, CHECKPOINTS, FINAL = "manifest.json", "checkpoints", "final"
RECORDS = ("recipe.yaml", "recipe.json", "metrics.jsonl", "metrics.csv", "samples.jsonl", "tensorboard", "loggers")
"""What is published beside checkpoints and the manifest."""


class RunDirectory:
    """A run's place.

    Args:
        output: Folder or URL that holds runs.
        name: The run's name within it; `/` only where runs of a sweep stand together.

    Attributes:
        location: The run's path or URL.
        local: The same where it is a path; else its spool.
        metrics: The rows of metrics.jsonl.
        samples_path: Text samples, one object a line.
        job_folder: What the command hands its processes, and what they hand back.

    Raises:
        StorageError: The location is refused, or the name leaves `output`.
    """

    def __init__(self, output: str, name: str) -> None:
        storage.check_location(output, "run.output")
        parts = name.split("/")
        if not name.isprintable() or any(part in {"", ".", ".."} or "\\" in part for part in parts):
            raise StorageError(Fault("run.name", name, "must stay within run.output", "use lowercase letters, digits and dashes"))
        self.name = name
        self.location = storage.join(output, *parts)
        self._remote = storage.is_url(self.location)
        self.local = _spool(self.location) if self._remote else storage.local_path(self.location).absolute()
        self.metrics = MetricsFile(self.local / "metrics.jsonl")
        self.samples_path = self.local / "samples.jsonl"
        self.job_folder = self.local / "job"
        self._verified: set[int] = set()
        self._published_bytes: dict[str, int] = {}

    @classmethod
    def at(cls, location: str) -> RunDirectory:
        """The run at a path or URL."""
        place = location.rstrip("/") if storage.is_url(location) else str(storage.local_path(location).absolute())
        output, _, name = place.rpartition("/")
        return cls(output or "/", name)

    def recipe(self) -> dict[str, Any]:
        """The recipe as last started, a plain tree; empty where there is none."""
        return dict(self._json("recipe.json") or {})

    def samples(self) -> list[dict[str, Any]]:
        """The text samples: `{"step", "name", "prompt", "text"}`, in the order they were written."""
        location = self.uri("samples.jsonl")
        return [json.loads(line) for line in storage.read_bytes(location).splitlines()] if storage.exists(location) else []

    def uri(self, *parts: str) -> str:
        """The URL of something in the run, or its absolute path."""
        return storage.join(self.location if self._remote else str(self.local), *parts)

    @contextmanager
    def lease(self, wait_s: float = 0.0) -> Iterator[storage.Lease]:
        """Makes this process the run's one writer, if need be after `wait_s`, and brings the spool to what is published.

        Raises:
            StorageError: Another process writes it.
        """
        with storage.lease(self.location, wait_s) as held:
            if self._remote:
                self._restore()
            self._reconcile()
            yield held

    def manifest(self) -> dict[str, Any] | None:
        """The newest committed manifest; None where there is no run."""
        return self._json(MANIFEST)

    def write_manifest(self, manifest: Mapping[str, Any]) -> None:
        """Replaces the manifest, atomically; keys stay in their order."""
        data = json.dumps(manifest, indent=1, ensure_ascii=False).encode() + b"\n"
        storage.write_bytes(str(self.local / MANIFEST), data)
        if self._remote:
            storage.write_bytes(self.uri(MANIFEST), data)

    def update_manifest(self, **changes: Any) -> None:
        """Sets keys of the manifest."""
        self.write_manifest({**(self.manifest() or {}), **changes})

    def write_recipe(self, composed_yaml: str, typed_json: str) -> None:
        """Keeps the recipe, as composed and as typed."""
        for name, text in (("recipe.yaml", composed_yaml), ("recipe.json", typed_json)):
            storage.write_bytes(str(self.local / name), text.encode())
            if self._remote:
                storage.write_bytes(self.uri(name), text.encode())

    def temporary_checkpoint(self, step: int) -> Path:
        """Where the ranks write the files of a checkpoint before it is committed."""
        return self.local / CHECKPOINTS / f".{_step_name(step)}.partial"

    def commit_checkpoint(self, step: int, temporary: Path, losses: Mapping[str, float]) -> None:
        """Commits what the ranks wrote, publishes it, and enters it in the manifest.

        Args:
            step: Optimizer steps done.
            temporary: `temporary_checkpoint(step)`, filled.
            losses: Validation loss of each set at this step, in nats a token; empty if there was no validation.
        """
        path = f"{CHECKPOINTS}/{_step_name(step)}"
        storage.commit(temporary, self.local / path)
        self._verified.add(step)
        if self._remote:
            self.publish()
            storage.publish_folder(self.local / path, self.uri(path))
        entries = {entry["step"]: entry for entry in self._entries()} | {step: self._entry(step, losses)}
        self.update_manifest(checkpoints=[entries[step] for step in sorted(entries)])

    def committed_checkpoints(self) -> list[tuple[int, Path]]:
        """Steps and local folders of the committed checkpoints, newest first; `checkpoint` verifies one, and fetches it if need be."""
        names = storage.list_names(self.uri(CHECKPOINTS))
        whole = [name for name in names if name.startswith("step-") and storage.exists(self.uri(CHECKPOINTS, name, storage.MARKER))]
        return [(int(name.removeprefix("step-")), self.local / CHECKPOINTS / name) for name in sorted(whole, reverse=True)]

    def checkpoint(self, step: int) -> Path:
        """The local folder of a committed checkpoint, verified.

        Raises:
            CheckpointError: There is none, or it is damaged; every damaged file.
        """
        folder = self.local / CHECKPOINTS / _step_name(step)
        self._verify(folder)
        self._verified.add(step)
        return folder

    def latest_checkpoint(self, before: int | None, warn: Callable[[str], None]) -> Path | None:
        """The newest checkpoint that is whole; None where there is none.

        Args:
            before: Only checkpoints of steps before this one; None: all.
            warn: Told of every damaged checkpoint on the way.
        """
        for step, _ in self.committed_checkpoints():
            if before is not None and step >= before:
                continue
            try:
                return self.checkpoint(step)
            except CheckpointError as error:
                warn(f"warning: {error}; using the checkpoint before it")
        return None

    def checkpoint_or_final(self, which: str | None) -> Path:
        """A model of the run, verified.

        Args:
            which: A step, `best` (lowest loss of the first validation set), `last`, or None: final, else the last.

        Raises:
            CheckpointError: There is no such checkpoint, or it is damaged.
        """
        if which is None and (self.manifest() or {}).get("final"):
            folder = self.local / FINAL
            self._verify(folder)
            return folder
        steps = [step for step, _ in self.committed_checkpoints()]
        newest = steps[0] if steps else None
        named = int(which) if which and which.isdigit() else None
        wanted = {None: newest, "last": newest, "best": self.best_step()}.get(which, named)
        if wanted is None or wanted not in steps:
            there = ", ".join(map(str, reversed(steps))) or "none"
            raise CheckpointError(Fault(self.location, which or "last", "there is no such checkpoint", f"steps there are: {there}"))
        return self.checkpoint(wanted)

    def best_step(self) -> int | None:
        """The step whose checkpoint has the lowest loss of the first validation set."""
        measured = [(next(iter(entry["losses"].values())), entry["step"]) for entry in self._entries() if entry.get("losses")]
        return int(min(measured)[1]) if measured else None

    def prune(self, keep: int) -> None:
        """Removes all but the best checkpoint and the newest `keep` besides it; the newest that is whole always stays.

        Call it after a commit: only what is older than a checkpoint that was verified goes.
        """
        steps = [step for step, _ in self.committed_checkpoints()]
        besides_best = [step for step in steps if step != self.best_step()]
        superfluous = [step for step in besides_best[keep:] if step != steps[0]]
        newest_whole = next((step for step in steps if self._is_whole(step)), None) if superfluous else None
        gone = {step for step in superfluous if newest_whole is not None and step < newest_whole}
        if not gone:
            return
        self.update_manifest(checkpoints=[entry for entry in self._entries() if entry["step"] not in gone])
        for step in gone:
            for place in {self.uri(CHECKPOINTS, _step_name(step)), str(self.local / CHECKPOINTS / _step_name(step))}:
                storage.remove(place)

    @contextmanager
    def committed(self, name: str) -> Iterator[Path]:
        """A folder of the run (`final`) to fill; committed and published when the block ends well."""
        with storage.committed_folder(self.local / name) as folder:
            yield folder
        if self._remote:
            storage.publish_folder(self.local / name, self.uri(name))

    def publish(self) -> None:
        """Publishes metrics, samples and events of a run at a URL, and last its manifest."""
        if not self._remote:
            return
        for file in sorted(file for record in RECORDS for file in _files(self.local / record)):
            name, size_bytes = file.relative_to(self.local).as_posix(), file.stat().st_size
            if self._published_bytes.get(name) != size_bytes:
                storage.publish_file(file, self.uri(name))
                self._published_bytes[name] = size_bytes
        if (self.local / MANIFEST).exists():
            storage.publish_file(self.local / MANIFEST, self.uri(MANIFEST))

    def _json(self, name: str) -> dict[str, Any] | None:
        if not storage.exists(self.uri(name)):
            return None
        try:
            found: dict[str, Any] = json.loads(storage.read_bytes(self.uri(name)))
        except ValueError:
            raise StorageError(Fault(self.uri(name), "", "is not JSON", "delete it to begin the run anew")) from None
        return found

    def _restore(self) -> None:
        """Brings the spool's records to what is published: another machine may have gone on with the run, or the spool is lost."""
        for record in (*RECORDS, MANIFEST):
            if storage.exists(self.uri(record)):
                storage.download(self.uri(record), self.local / record)
            else:
                storage.remove(str(self.local / record))

    def _reconcile(self) -> None:
        """Makes the manifest list the checkpoints that are committed: a kill may have come between the two."""
        if (manifest := self.manifest()) is None:
            return
        listed = {entry["step"]: entry for entry in manifest["checkpoints"]}
        committed = [listed.get(step) or self._entry(step, {}) for step, _ in reversed(self.committed_checkpoints())]
        if committed != manifest["checkpoints"]:
            self.write_manifest({**manifest, "checkpoints": committed})

    def _entry(self, step: int, losses: Mapping[str, float]) -> dict[str, Any]:
        path = f"{CHECKPOINTS}/{_step_name(step)}"
        marker = storage.read_bytes(self.uri(path, storage.MARKER))
        return {"step": step, "path": path, "sha256": hashlib.sha256(marker).hexdigest(), "losses": dict(losses)}

    def _verify(self, folder: Path) -> None:
        """Verifies a committed folder of the run; at a URL, a spool that holds another one, or none, is filled anew."""
        if self._remote:
            published = self.uri(folder.relative_to(self.local).as_posix())
            marker = storage.read_bytes(storage.join(published, storage.MARKER))
            try:
                if storage.verify_folder(folder) == hashlib.sha256(marker).hexdigest():
                    return
            except CheckpointError:
                pass
            storage.download(published, folder)
        storage.verify_folder(folder)

    def _is_whole(self, step: int) -> bool:
        with suppress(CheckpointError):
            return step in self._verified or self.checkpoint(step).exists()
        return False

    def _entries(self) -> list[dict[str, Any]]:
        return list((self.manifest() or {}).get("checkpoints", []))


def _spool(location: str) -> Path:
    return storage.cache_folder("runs", hashlib.sha256(location.encode()).hexdigest()[:16], storage.base_name(location))


def _step_name(step: int) -> str:
    return f"step-{step:08}"


def _files(path: Path) -> list[Path]:
    return [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
