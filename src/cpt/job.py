"""What the submitting process hands to its workers: one JSON file, and what comes back: one of each. Torch-free."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from cpt.errors import EXIT_DONE, EXIT_INTERRUPTED, EXIT_PREEMPTED, CptError, Fault, Interrupted, Preempted, UserError
from cpt.recipe.architecture import Architecture
from cpt.recipe.schema import Recipe
from cpt.storage import write_private

Verb = Literal["train", "evaluate", "generate", "export", "measure"]
CRASHES = "crash-rank-*.txt"
"""Beside a job: the traceback of each rank that failed in a way nobody foresaw."""


@dataclass(frozen=True)
class Weights:
    """Where a worker finds weights.

    Args:
        kind: `random`, a `huggingface` folder, or a `checkpoint` of ours.
        folder: The local folder; None for random weights.
        architecture: The decoder's shape.
    """

    kind: Literal["random", "huggingface", "checkpoint"]
    folder: Path | None
    architecture: Architecture

    def to_json(self) -> dict[str, Any]:
        """Plain data that `from_json` reads."""
        folder = self.folder and str(self.folder)
        return {"kind": self.kind, "folder": folder, "architecture": self.architecture.model_dump(mode="json")}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Weights:
        """What `to_json` wrote."""
        architecture = Architecture.model_validate_json(json.dumps(data["architecture"]))
        return cls(data["kind"], data["folder"] and Path(data["folder"]), architecture)


@dataclass(frozen=True)
class Job:
    """One piece of work for worker processes.

    Args:
        verb: What to do.
        weights: What to start from; None: the verb needs none.
        options: The verb's own settings, plain data.
    """

    verb: Verb
    weights: Weights | None
    options: dict[str, Any]
    recipe: Recipe | None = None

    def write(self, path: Path) -> None:
        """Writes the job for its owner's eyes only: options may hold what the recipe keeps unresolved."""
        content = {
            "verb": self.verb,
            "weights": self.weights and self.weights.to_json(),
            "options": self.options,
            "recipe": self.recipe and self.recipe.model_dump(mode="json"),
            "environment": self.recipe and self.recipe.environment,
        }
        write_private(path, json.dumps(content, indent=1))

    @classmethod
    def read(cls, path: Path) -> Job:
        """What `write` wrote."""
        data = json.loads(path.read_bytes())
        weights, recipe = data["weights"], data["recipe"]
        return cls(
            data["verb"],
            weights and Weights.from_json(weights),
            data["options"],
            recipe and Recipe.model_validate_json(json.dumps(recipe)).read_from_environment(data["environment"]),
        )


@dataclass(frozen=True)
class TrainOptions:
    """What a training job carries besides its recipe; plain data.

    Args:
        run: Location of the run directory.
        run_name: Its name within `run.output`.
        prepared: The data, as `Prepared.to_json` gives it.
        total_steps: Steps of the whole run.
        dp_replicate: Replicas of the sharded model.
        dp_shard: Ranks that share one replica.
        micro_batch: Sequences in a forward pass of a rank.
        activation_checkpointing: `none` or `full`.
        resume: Verified checkpoint to go on from; None: from the base.
    """

    run: str
    run_name: str
    prepared: dict[str, Any]
    total_steps: int
    dp_replicate: int
    dp_shard: int
    micro_batch: int
    activation_checkpointing: str
    resume: str | None


def launch(job: Job, start: Callable[[Sequence[str]], int], folder: Path) -> Any:
    """Runs `job` and returns its result.

    Args:
        job: What to do.
        start: Starts the processes of an argv, waits for them, and returns their exit code.
        folder: Where the job and its answers go; processes of all nodes share it.

    Raises:
        UserError, CptError: What the workers left.
        Interrupted, Preempted: They were told to stop.
    """
    _forget_results(folder)
    code = run_worker(job, start, folder / "job.json")
    result, faults, message = _read_result(folder)
    if faults:
        raise UserError.of(faults)
    if code in (EXIT_INTERRUPTED, EXIT_PREEMPTED):
        raise (Interrupted if code == EXIT_INTERRUPTED else Preempted)(message or "before the first step")
    if code != EXIT_DONE:
        raise CptError(message or f"a worker ended with exit code {code} and said nothing; its messages are above")
    return result


def run_worker(job: Job, start: Callable[[Sequence[str]], int], path: Path) -> int:
    """Writes `job` to `path`, starts its processes, and returns their exit code; each leaves its answer beside the job."""
    job.write(path)
    try:
        return start((sys.executable, "-m", "cpt.worker", str(path)))
    finally:
        path.unlink(missing_ok=True)  # it may hold what the environment gave


def write_result(folder: Path, rank: int, result: Any = None, faults: tuple[Fault, ...] = (), message: str = "") -> None:
    """Leaves a rank's answer, or what went wrong there, beside the job."""
    answer = {"result": result, "faults": [asdict(fault) for fault in faults], "message": message}
    (folder / f"result-{rank}.json").write_text(json.dumps(answer))


def _read_result(folder: Path) -> tuple[Any, list[Fault], str]:
    """The answer, every rank's faults, and the message of the rank that spoke first; nothing if none left any.

    The first one knows: a rank that fails breaks the connections of the others, who can only say that.
    """
    answers = [json.loads(path.read_bytes()) for path in _results(folder)]
    faults = dict.fromkeys(Fault(**fault) for answer in answers for fault in answer["faults"])
    messages = [answer["message"] for answer in answers if answer["message"]]
    return answers[0]["result"] if answers else None, list(faults), messages[0] if messages else ""


def _forget_results(folder: Path) -> None:
    """Removes what an earlier job left in `folder`, lest it is taken for an answer to the next."""
    for path in _results(folder):
        path.unlink()


def _results(folder: Path) -> list[Path]:
    return sorted(folder.glob("result-*.json"), key=lambda path: path.stat().st_mtime_ns)
