"""The data sets that a recipe names: where they come from, and their token stores."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from cpt import plugins, storage
from cpt.contracts import DataSource
from cpt.data.parts import build_from_parts, shards_of
from cpt.data.progress import Progress
from cpt.data.shard import Shard, ShardJob
from cpt.data.store import TokenStore, build_store, find_store
from cpt.data.tokenizer import TextTokenizer
from cpt.errors import DataError, Fault, RecipeError, UserError
from cpt.recipe.schema import Data, Locations, Recipe

TRAIN = ""
"""Stands for the training data among the names of the validation sets."""


@dataclass(frozen=True)
class DataSets:
    """The training data and the validation sets of a recipe.

    Args:
        data: What the recipe says of them.
        source: Reads them.
        locations: Where each set is, by name; the training data's is `TRAIN`.
        tokenizer: Makes the ids.
        root: Folder or URL of the stores.
    """

    data: Data
    source: DataSource
    locations: Mapping[str, tuple[str, ...]]
    tokenizer: TextTokenizer
    root: str

    @classmethod
    def of(cls, recipe: Recipe, tokenizer: TextTokenizer, root: str) -> DataSets:
        """The sets that `recipe` names; nothing of them is read.

        Raises:
            RecipeError: No data is named.
            PluginError: There is no such data source.
        """
        return cls(recipe.data, find_source(recipe), find_locations(recipe), tokenizer, root)

    def stores(self, known: Mapping[str, str], processes: int, progress: Progress) -> dict[str, TokenStore]:
        """The store of each set, found or built.

        Args:
            known: Fingerprints found elsewhere, by set: where their store is there, the data is not looked at.
            processes: How many may tokenise at once.
            progress: Told of documents and bytes done.

        Raises:
            DataError: The data is invalid, every fault of all sets; or it is no longer what was known.
            StorageError: A location cannot be read, or a store not written.
        """
        stores = {name: store for name in self.locations if (store := find_store(known.get(name), self.tokenizer, self.root))}
        for name, fingerprint in self._validated(known, self.locations.keys() - stores.keys()).items():
            stores[name] = self._store(name, fingerprint, processes, progress)
        return {name: stores[name] for name in self.locations}

    def shard_job(self) -> ShardJob | None:
        """What an array of tasks has to do, so that `stores` has nothing left but to join; None where it is too little for that.

        Raises:
            DataError: The data is invalid, every fault of all sets.
            StorageError: A location cannot be read.
        """
        fingerprints = self._validated({}, self.locations.keys())
        missing = [name for name, fingerprint in fingerprints.items() if find_store(fingerprint, self.tokenizer, self.root) is None]
        shards = [shard for name in missing for shard in shards_of(self.source, self.locations[name], fingerprints[name], self.tokenizer)]
        return self._job(shards) if shards else None

    def _store(self, name: str, fingerprint: str, processes: int, progress: Progress) -> TokenStore:
        if store := find_store(fingerprint, self.tokenizer, self.root):
            return store
        if shards := shards_of(self.source, self.locations[name], fingerprint, self.tokenizer):
            return build_from_parts(self._job(shards), processes, progress)
        return build_store(self.source.documents(self.locations[name]), fingerprint, self.tokenizer, self.root, progress)

    def _job(self, shards: list[Shard]) -> ShardJob:
        root = storage.absolute(self.root)
        return ShardJob(self.data.source, self.data.options, self.tokenizer, root, shards)

    def _validated(self, known: Mapping[str, str], names: Collection[str]) -> dict[str, str]:
        """The fingerprint of each set, or all faults of all sets; one that is not the known one is a fault."""
        fingerprints, faults = {}, dict[Fault, None]()
        for name in [name for name in self.locations if name in names]:
            try:
                fingerprints[name] = self.source.fingerprint(self.locations[name])
            except UserError as error:
                faults |= dict.fromkeys(error.faults)
                continue
            if fingerprints[name] != known.get(name, fingerprints[name]):
                faults[self._changed(name)] = None
        if faults:
            raise DataError.of(faults)
        return fingerprints

    def _changed(self, name: str) -> Fault:
        where = "data.train" if name == TRAIN else f"data.validation.{name}"
        return Fault(where, ", ".join(self.locations[name]), "has changed since it was validated", "Give the same command again")


def find_source(recipe: Recipe) -> DataSource:
    """The recipe's data source.

    Raises:
        PluginError: There is none of that name, or it refuses its options.
    """
    found, options = plugins.load("data_sources", recipe.data.source, recipe.data.options, "data.source")
    source: DataSource = found(options)
    return source


def find_locations(recipe: Recipe) -> dict[str, tuple[str, ...]]:
    """The locations of the training data and of each validation set by name.

    Raises:
        RecipeError: No data is named, or a set has no name.
    """
    if not recipe.data.train:
        raise RecipeError("data.train", "null", "names no data", "data.train=FILE.jsonl, or data=sample")
    validation = recipe.data.validation or {}
    sets = validation if isinstance(validation, dict) else {"validation": validation}
    if TRAIN in sets:
        raise RecipeError("data.validation", "''", "a validation set needs a name", "data.validation={domain: FILE.jsonl}")
    return {TRAIN: _several(recipe.data.train)} | {name: _several(places) for name, places in sets.items()}


def _several(locations: Locations) -> tuple[str, ...]:
    return (locations,) if isinstance(locations, str) else locations
