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

ORDER, SUBMITTED = "job/order.json", "job/submitted.json"


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
    """

    run_name: str
    recipe: Recipe
    recipe_yaml: str
    fingerprints: Mapping[str, str]
    store: str
    folder: str

    def write(self, run: RunDirectory) -> None:
        """Leaves the order in the run, for its owner's eyes only.

        Raises:
            RecipeError: The run is at a URL, where others may read, and the recipe holds values of the environment.
        """
        recipe = self.recipe
        if storage.is_url(run.location) and recipe.environment:
            rule = "reads the environment, which a job at a URL cannot be told"
            raise RecipeError.of(Fault(key, value, rule, "Write the value itself") for key, value in recipe.environment.items())
        content = {
            "run_name": self.run_name,
            "recipe": recipe.model_dump(mode="json"),
            "environment": recipe.environment,
            "recipe_yaml": self.recipe_yaml,
            "fingerprints": dict(self.fingerprints),
            "store": self.store,
            "folder": self.folder,
        }
        text = json.dumps(content, indent=1)
        if storage.is_url(run.location):
            storage.write_bytes(run.uri(ORDER), text.encode())
            return
        run.job_folder.mkdir(parents=True, exist_ok=True)
        file = run.local / ORDER
        file.touch(mode=0o600)
        file.write_text(text)

    @classmethod
    def read(cls, run: RunDirectory) -> Order:
        """What `write` left.

        Raises:
            StorageError: There is none.
        """
        if not storage.exists(run.uri(ORDER)):
            raise StorageError(run.location, ORDER, "is not there: nothing was submitted", "cpt train submits a run")
        data = json.loads(storage.read_bytes(run.uri(ORDER)))
        recipe = Recipe.model_validate_json(json.dumps(data["recipe"])).read_from_environment(data["environment"])
        return cls(data["run_name"], recipe, data["recipe_yaml"], data["fingerprints"], data["store"], data["folder"])


@dataclass(frozen=True)
class Submitted:
    """A run's job, as `job/submitted.json` and the manifest keep it.

    Args:
        launcher: The launcher's name.
        options: Its options, plain data.
        id: Its id there.
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
