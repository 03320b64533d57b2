"""The base model: where a run's first weights, its shape and its tokenizer come from. Torch-free; weights are only located here."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Literal

from cpt import storage
from cpt.errors import CheckpointError, Fault, RecipeError
from cpt.job import Weights
from cpt.recipe.architecture import Architecture
from cpt.recipe.schema import Recipe
from cpt.rundir import CHECKPOINTS, FINAL, MANIFEST, RunDirectory

WHERE = "model.init"
HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
WEIGHT_FILES = ("*.safetensors", "*.json")
ESCROW = "s3://customer-escrow"
"""Where Amazon keeps the weights that its engine trains; only its engine reads them."""


@dataclass(frozen=True)
class Base:
    """Where a run starts from.

    Args:
        origin: What the identity records: `random`, `base`, or the location of the weights.
        folder: Local folder with config.json and weights; None for random weights.
        kind: How the weights lie in `folder`: a Hugging Face folder, or a checkpoint of ours with sharded tensors.
        architecture: The model's shape.
        parent: Location of the run that the weights come from, if they do.
    """

    origin: str
    folder: Path | None
    kind: Literal["random", "huggingface", "checkpoint"]
    architecture: Architecture
    parent: str | None = None

    @property
    def weights(self) -> Weights:
        """What a worker needs to know."""
        return Weights(self.kind, self.folder, self.architecture)


def resolve_base(recipe: Recipe) -> Base:
    """Locates the base of `recipe`, fetching it where it is remote.

    Raises:
        CheckpointError: It is missing, is not a model, or its shape is not the preset's.
        RecipeError: `model=auto` without a base.
    """
    init = recipe.model.init
    if init in (None, "random"):
        if recipe.model.architecture is None:
            raise RecipeError(
                WHERE, str(init), "model=auto reads the shape from a base model", "Name one: model.init=FOLDER, URL or ORG/NAME"
            )
        return Base("random", None, "random", recipe.model.architecture)
    if init == "base":
        return _checked(recipe, open_model(str(resources.files("cpt") / "bases" / recipe.model.name)), "base")
    return _checked(recipe, open_model(init), _normalised(init))


def open_model(location: str, checkpoint: str | None = None) -> Base:
    """The model at `location`: a Hugging Face folder, URL or hub name, a run (`checkpoint`: a step, `best`, `last`; None: final, else the
    last), a checkpoint, or the manifest.json of Amazon's engine.

    Raises:
        CheckpointError: There is none, or it is damaged.
    """
    storage.check_location(location, WHERE)
    if location.startswith(ESCROW):
        rule = "holds weights of Amazon's, which nobody but its own engine can read"
        raise CheckpointError(WHERE, location, rule, "Use launcher=hyperpod to train on from them")
    if _is_hub_name(location):
        return _folder_model(location, _from_hub(location))
    if location.endswith(".json"):
        return open_model(_amazon_checkpoint(location), checkpoint)
    if storage.exists(storage.join(location, MANIFEST)):
        return _run_model(location, checkpoint)
    if not storage.exists(storage.join(location, "config.json")):
        raise CheckpointError(
            WHERE, location, "must be a Hugging Face folder, a run or a checkpoint", "It needs a config.json or a manifest.json"
        )
    folder = storage.fetch(location, storage.cache_folder("models"))
    if (folder / storage.MARKER).exists():
        storage.verify_folder(folder)
    return _folder_model(location, folder, parent=_run_of(location))


def with_amazons_start(recipe: Recipe) -> Recipe:
    """`recipe` with the checkpoint that `model.init` leads to: an earlier job of Amazon's engine, by its run or by its manifest.json.

    Whatever else stands there (null, a checkpoint's own URI, what Amazon's engine cannot start from) stays as it is.

    Raises:
        CheckpointError: The job has not ended, or it was no job of that engine, or one that trained another of Amazon's models.
    """
    init = recipe.model.init
    if recipe.model.type is None or init in (None, "random", "base") or init.startswith(ESCROW) or _is_hub_name(init):
        return recipe
    manifest = init if init.endswith(".json") else storage.join(init, MANIFEST)
    if manifest != init and not storage.exists(manifest):
        return recipe
    checkpoint = _amazon_checkpoint(manifest)
    if faults := list(_other_engine_or_model(recipe, manifest.rpartition("/")[0], checkpoint)):
        raise CheckpointError.of(faults)
    return recipe.model_copy(update={"model": recipe.model.model_copy(update={"init": checkpoint})})


def _other_engine_or_model(recipe: Recipe, folder: str, checkpoint: str) -> Iterator[Fault]:
    """Why a recipe cannot start from what was trained in `folder`; Amazon's own manifest does not tell the model."""
    trained = RunDirectory.at(folder).recipe().get("model", {})
    if not checkpoint.startswith("s3://") or checkpoint.startswith(f"{folder}/"):
        rule = "was trained here, and Amazon's engine starts from its own checkpoints"
        yield Fault(WHERE, str(recipe.model.init), rule, "Use model.init=null for Amazon's base")
    elif trained and trained["type"] != recipe.model.type:
        rule = f"trained {trained['type']}, and {recipe.model.type} starts from a checkpoint of its own"
        yield Fault(WHERE, str(recipe.model.init), rule, f"Use model={trained['name']}")


def _run_model(location: str, checkpoint: str | None) -> Base:
    run = RunDirectory.at(location)
    folder = run.checkpoint_or_final(checkpoint)
    return _folder_model(storage.join(location, folder.name), folder, parent=location)


def _run_of(location: str) -> str | None:
    """The run whose `final` or checkpoint the folder at `location` is."""
    above, _, name = location.rstrip("/").rpartition("/")
    run = above if name == FINAL else above.removesuffix(f"/{CHECKPOINTS}")
    is_part = name == FINAL or run != above
    return run if run and is_part and storage.exists(storage.join(run, MANIFEST)) else None


def _folder_model(origin: str, folder: Path, parent: str | None = None) -> Base:
    kind: Literal["huggingface", "checkpoint"] = "checkpoint" if (folder / "progress.json").exists() else "huggingface"
    try:
        config = json.loads((folder / "config.json").read_bytes())
    except ValueError as error:
        raise CheckpointError(f"{origin}/config.json", str(error), "must be JSON") from None
    architecture = Architecture.from_hf_config(config if isinstance(config, dict) else {}, f"{origin}/config.json")
    return Base(origin, folder, kind, architecture, parent)


def _checked(recipe: Recipe, base: Base, origin: str) -> Base:
    asked = recipe.model.architecture
    if asked is not None and (differences := _differences(asked, base.architecture)):
        raise CheckpointError.of(
            Fault(
                f"{WHERE}: {recipe.model.init}",
                f"{key} {found}",
                f"model={recipe.model.name} has {key} {wanted}",
                "Use model=auto to take the base's own shape",
            )
            for key, wanted, found in differences
        )
    return Base(origin, base.folder, base.kind, base.architecture, base.parent and _normalised(base.parent))


def _differences(asked: Architecture, found: Architecture) -> list[tuple[str, object, object]]:
    """Where the two differ in what decides the weights; `positions` is only a limit."""
    ours, theirs = asked.model_dump(exclude={"positions"}), found.model_dump(exclude={"positions"})
    return [(key, value, theirs[key]) for key, value in ours.items() if theirs[key] != value]


def is_remote(init: str | None) -> bool:
    """Whether the weights that `model.init` names would have to be fetched."""
    return init is not None and (storage.is_url(init) or _is_hub_name(init))


def _is_hub_name(location: str) -> bool:
    return bool(HUB_NAME.fullmatch(location)) and not Path(location).exists()


def _from_hub(name: str) -> Path:
    from huggingface_hub import snapshot_download  # noqa: PLC0415  it takes half a second to import
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError  # noqa: PLC0415

    try:
        return Path(snapshot_download(name, allow_patterns=list(WEIGHT_FILES)))
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        raise CheckpointError(
            WHERE, name, f"could not be had from the hub ({type(error).__name__})", "Check the name and the network, or name a local folder"
        ) from None


def _amazon_checkpoint(location: str) -> str:
    """The checkpoint that Amazon's manifest.json names: `checkpoint_s3_bucket` holds a full URI, despite its name."""
    try:
        checkpoint = json.loads(storage.read_bytes(location, limit=2**20))["checkpoint_s3_bucket"]
    except (ValueError, KeyError, TypeError):
        checkpoint = None
    if not isinstance(checkpoint, str) or not checkpoint.strip() or checkpoint.endswith(".json"):
        raise CheckpointError(
            WHERE, location, "must be a manifest whose `checkpoint_s3_bucket` names a folder", "The job may not have ended"
        )
    return checkpoint


def _normalised(location: str) -> str:
    if storage.is_url(location) or _is_hub_name(location):
        return location
    return os.path.abspath(storage.local_path(location))  # noqa: PTH100  resolve() follows links
