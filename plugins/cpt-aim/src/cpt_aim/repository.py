"""An Aim repository that many processes write to, some of which are killed.

Three things that Aim 3.29 leaves to its caller are done here. The SDK and the UI read runs from an index that only `aim up` writes:
`index` does. Points cannot be taken back: `open_run` removes those after a step. Repositories, runs and the index may be opened for
writing by one process at a time, else RocksDB fails: all that happens under a lock of ours, which the system frees when its holder dies.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from aim.sdk.objects.figure import Figure
from aim.sdk.objects.text import Text
from aim.sdk.repo import Repo
from aim.sdk.run import Run
from aim.storage.object import CustomObject
from aimrocks.errors import RocksIOError  # type: ignore[import-untyped]
from filelock import FileLock, Timeout

LOCK_S = 60.0
"""How long a process waits for the others; seconds."""


class Repository:
    """The repository in a folder, made where there is none.

    Args:
        folder: It holds `.aim`.

    Raises:
        TimeoutError: Others held it for `LOCK_S`.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._lock = FileLock(folder / ".aim.lock", timeout=LOCK_S)
        with self._lock:
            self._repo = _patiently(lambda: Repo.from_path(str(folder), init=True))

    def open_run(self, run_hash: str, step: int, system_metrics_every_s: float | None) -> Any:
        """The run `run_hash`, without its points after `step`, without any where `step` is 0; an empty one where there is none.

        Whoever holds the run was killed: the run's folder has one writer.
        """
        (Path(self._repo.path) / "meta" / "chunks" / run_hash).mkdir(parents=True, exist_ok=True)  # Aim opens what it finds there
        self._repo._all_run_hashes.cache_clear()
        with self._lock:
            self._repo._lock_manager.release_locks(run_hash, force=True)
            _void_after(self._repo, run_hash, step or -1)
            return Run(
                run_hash,
                repo=self._repo,
                system_tracking_interval=system_metrics_every_s,
                log_system_params=False,  # they hold the environment
                capture_terminal_logs=False,
            )

    def index(self, run_hash: str) -> None:
        """Lets readers see the run as it stands; where others have the index all the time, the next call will."""
        try:
            with self._lock:
                index = _patiently(lambda: self._repo._get_index_tree("meta", 0).view(()))
                run = self._repo.request_tree("meta", run_hash, read_only=True, skip_read_optimization=True)
                run.subtree("meta").subtree("chunks").subtree(run_hash).finalize(index=index)
        except (RocksIOError, Timeout):
            return


def text_object(text: str) -> Any:
    """An `aim.Text`."""
    return Text(text)  # type: ignore[no-untyped-call]


def figure_object(figure: Mapping[str, object]) -> Any:
    """An `aim.Figure` of Plotly's JSON; Aim's own constructor wants the object of a package that would only turn it into JSON again."""
    made = Figure.__new__(Figure)  # type: ignore[no-untyped-call]
    CustomObject.__init__(made)  # type: ignore[no-untyped-call]
    made._prepare(_Json(figure))
    return made


class _Json:
    def __init__(self, value: Mapping[str, object]) -> None:
        self._value = value

    def to_json(self) -> str:
        return json.dumps(self._value)


def _patiently(act: Any, wait_s: float = 10.0) -> Any:
    """What `act` returns, once nobody else has open what it opens."""
    deadline = time.monotonic() + wait_s
    while True:
        try:
            return act()
        except RocksIOError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def _void_after(repo: Repo, run_hash: str, step: int) -> None:
    """Removes the points after `step` from every sequence of a run, and what its summary says of them."""
    chunk = repo.request_tree("meta", run_hash, read_only=False).subtree("meta").subtree("chunks").subtree(run_hash)
    series = repo.request_tree("seqs", run_hash, read_only=False).subtree("seqs")
    for context, sequences in chunk.get("traces", {}).items():
        for name, summary in sequences.items():
            counts_steps = not name.startswith("__system__")  # Aim counts its own measurements of the machine
            if summary.get("last_step", step + 1) > step and (counts_steps or step < 0):
                _void_sequence(chunk, series, run_hash, (context, name), step)


def _void_sequence(chunk: Any, series: Any, run_hash: str, key: tuple[int, str], step: int) -> None:
    is_metric = chunk.get(("traces", *key, "version"), 1) == 2
    columns = series.subtree(("v2", "chunks", run_hash, *key) if is_metric else ("chunks", run_hash, *key))
    values = dict(columns.array("val").items())
    steps = dict(columns.array("step").items()) if is_metric else {at: at for at in values}
    kept = {steps[at]: value for at, value in values.items() if steps.get(at, step + 1) <= step}
    for at in values.keys() - {at for at, its_step in steps.items() if its_step <= step}:
        for column in ("val", "step", "epoch", "time"):
            del columns.subtree(column)[at]
    _summarise(chunk, key, kept, is_metric)


def _summarise(chunk: Any, key: tuple[int, str], points: Mapping[int, Any], is_metric: bool) -> None:
    """Makes the run's summary of a sequence that of `points`, by step; a sequence without any goes."""
    summary = chunk.subtree(("traces", *key))
    if not points:
        kinds = list(chunk.get("typed_traces", {}))
        del chunk.subtree("traces").subtree(key[0])[key[1]]
        for kind in kinds:
            del chunk.subtree("typed_traces").subtree(kind).subtree(key[0])[key[1]]
        return
    summary["last_step"] = max(points)
    summary["last"] = points[max(points)]
    if is_metric:
        numbers = [value for value in points.values() if not math.isnan(value)]
        summary["min"], summary["max"] = min(numbers, default=math.inf), max(numbers, default=-math.inf)
