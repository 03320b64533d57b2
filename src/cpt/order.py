"""What a submitting process leaves for the nodes that will run a job: `job/order.json` in the run's folder.

A node makes everything else from it as the submitting process did: base, data and plan are functions of the recipe, wherever they are
asked for. So nothing here names a folder of another machine.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from cpt import storage
from cpt.contracts import JobRef
from cpt.errors import Fault, RecipeError, StorageError
from cpt.recipe.schema import Recipe
from cpt.rundir import RunDirectory

ORDER, SUBMITTED, ATTEMPTS = "job/order.json", "job/submitted.json", "job/attempts.json"


@dataclass(frozen=True)
class Order:
    """A run to be done elsewhere.

    Args:
        run_name: Its name within `run.output`.
        recipe: Its recipe.
        recipe_yaml: The same as composed.
        fingerprints: Of its data sets by name, so that a node need not read the data to know it.
        store: Folder or URL of token stores.
        folder: Where it was submitted: what its relative paths start from.
        processes: Ranks on each node: what was planned, whatever GPUs a node shows.
    """

    run_name: str
    recipe: Recipe
    recipe_yaml: str
    fingerprints: Mapping[str, str]
    store: str
    folder: str
    processes: int

    def write(self, run: RunDirectory) -> None:
        """Leaves the order in the run, for its owner's eyes only.

        Raises:
            RecipeError: The run is at a URL, where others may read, and the recipe holds values of the environment.
        """
        environment = self.recipe.environment
        if not storage.is_url(run.location):
            storage.write_private(run.local / ORDER, self.to_text())
            return
        if environment:
            rule = "reads the environment, which a job at a URL cannot be told"
            raise RecipeError.of(Fault(key, value, rule, "Write the value itself") for key, value in environment.items())
        storage.write_bytes(run.uri(ORDER), self.to_text().encode())

    def to_text(self) -> str:
        """The order as JSON; it may hold what the environment gave."""
        content = {
            "run_name": self.run_name,
            "recipe": self.recipe.model_dump(mode="json"),
            "environment": self.recipe.environment,
            "recipe_yaml": self.recipe_yaml,
            "fingerprints": dict(self.fingerprints),
            "store": self.store,
            "folder": self.folder,
            "processes": self.processes,
        }
        return json.dumps(content, indent=1)

    @classmethod
    def read(cls, run: RunDirectory) -> Order:
        """What `write` left.

        Raises:
            StorageError: There is none.
        """
        if not storage.exists(run.uri(ORDER)):
            raise not_submitted(run.uri(ORDER))
        data = json.loads(storage.read_bytes(run.uri(ORDER)))
        recipe = Recipe.model_validate_json(json.dumps(data["recipe"])).read_from_environment(data["environment"])
        return cls(data["run_name"], recipe, data["recipe_yaml"], data["fingerprints"], data["store"], data["folder"], data["processes"])


def not_submitted(file: str) -> StorageError:
    """What a node says where the file that it needs is missing."""
    cure = "cpt train submits it; by hand, with a dry run's files in DIR: cp -r DIR/by-hand/. OUTPUT, with OUTPUT the recipe's run.output"
    return StorageError(file, "", "is not there: nothing was submitted", cure)


@dataclass(frozen=True)
class Submitted:
    """A run's job, as `job/submitted.json` and the manifest keep it.

    Args:
        launcher: The launcher's name.
        options: Its options, plain data; what the environment gave stays an interpolation.
        id: Its id there; empty while it is being submitted.
        name: Its name there.
        folder: Its folder for scripts and logs.
        submitted: When, in seconds since 1970.
    """

    launcher: str
    options: dict[str, Any]
    id: str
    name: str
    folder: str
    submitted: float

    @classmethod
    def now(cls, launcher: str, options: Mapping[str, Any], ref: JobRef) -> Submitted:
        """A job that was submitted just now."""
        return cls(launcher, dict(options), ref.id, ref.name, ref.folder, time.time())

    @classmethod
    def read(cls, run: RunDirectory) -> Submitted | None:
        """The run's job; None where it has none."""
        location = run.uri(SUBMITTED)
        found = json.loads(storage.read_bytes(location)) if storage.exists(location) else (run.manifest() or {}).get("job")
        return cls(**found) if found else None

    @property
    def ref(self) -> JobRef:
        """What its launcher knows it by."""
        return JobRef(self.id, self.name, self.folder)

    def write(self, run: RunDirectory) -> None:
        """Notes the job: a file of its own, because a job that begins at once writes the manifest itself."""
        storage.write_bytes(run.uri(SUBMITTED), json.dumps(self.to_json(), indent=1).encode())

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)
