"""From a recipe to data that is ready to train on: validated, tokenised once, stored, split."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cpt import storage
from cpt.data.order import DataPlan
from cpt.data.progress import Progress, silent
from cpt.data.sets import TRAIN, DataSets, find_locations, find_source
from cpt.data.shard import ShardJob
from cpt.data.store import DocumentSet, TokenStore, local_root
from cpt.data.tokenizer import TextTokenizer, bytes_tokenizer, load_tokenizer
from cpt.errors import DataError, Fault, RecipeError
from cpt.recipe.schema import Recipe

HELD_OUT = "held_out"
BYTES_PER_TOKEN = 4.0
"""Of English prose under a large BPE vocabulary, about; only for plans of data that is not tokenised yet."""
HELD_OUT_LARGEST = 200
HELD_OUT_ONE_IN = 100


@dataclass(frozen=True)
class Prepared:
    """Data that is ready to train on.

    Args:
        tokenizer: Made the ids.
        tokenizer_folder: Local folder that it was saved to.
        train: The documents to train on.
        validation: The validation sets by name, in the recipe's order.
        plan: The order of training.
    """

    tokenizer: TextTokenizer
    tokenizer_folder: Path
    train: DocumentSet
    validation: dict[str, DocumentSet]
    plan: DataPlan

    @property
    def documents(self) -> int:
        """Documents to train on."""
        return len(self.train)

    @property
    def tokens(self) -> int:
        """Tokens to train on, each document's EOS (and BOS) counted."""
        return self.train.tokens

    @property
    def sequences(self) -> int:
        """Sequences in an epoch."""
        return self.plan.sequences

    @property
    def holds_out(self) -> bool:
        """Whether the validation set was held out of the training data."""
        return any(documents.store is self.train.store for documents in self.validation.values())

    @property
    def fingerprints(self) -> dict[str, str]:
        """SHA-256 (hex) of the content of each set of the recipe, by name; the training data has the empty name."""
        validation = {} if self.holds_out else self.validation
        return {TRAIN: self.train.store.fingerprint} | {name: documents.store.fingerprint for name, documents in validation.items()}

    @property
    def content(self) -> dict[str, Any]:
        """What the data contributes to a run's identity: content and tokenizer, not paths."""
        validation = {name: _content(documents) for name, documents in self.validation.items()}
        return {"tokenizer": self.tokenizer.sha256, "train": _content(self.train), "validation": validation}

    def to_json(self) -> dict[str, Any]:
        """Plain data that `from_json` opens again, in another process of this machine."""
        return {
            "tokenizer": {"folder": str(self.tokenizer_folder), "eos_id": self.tokenizer.eos_id, "bos_id": self.tokenizer.bos_id},
            "train": str(self.train.store.folder),
            "validation": None if self.holds_out else {name: str(documents.store.folder) for name, documents in self.validation.items()},
            "plan": {
                "max_length": self.plan.max_length,
                "global_batch_size": self.plan.global_batch_size,
                "seed": self.plan.seed,
            },
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Prepared:
        """What `to_json` described.

        Raises:
            DataError: A store is gone or damaged.
        """
        folder = Path(data["tokenizer"]["folder"])
        tokenizer = TextTokenizer.open(folder, data["tokenizer"]["eos_id"], data["tokenizer"]["bos_id"])
        train = TokenStore(Path(data["train"]))
        validation = {name: TokenStore(Path(path)) for name, path in (data["validation"] or {}).items()}
        documents, sets = split(train, validation)
        return cls(tokenizer, folder, documents, sets, DataPlan(documents, **data["plan"]))


def _content(documents: DocumentSet) -> dict[str, Any]:
    return {"fingerprint": documents.store.fingerprint, "documents": len(documents), "tokens": documents.tokens}


def prepare(
    recipe: Recipe,
    base: Path | None,
    progress: Progress = silent,
    known_fingerprints: Mapping[str, str] | None = None,
    processes: int = 1,
) -> Prepared:
    """Validates all data of `recipe`, tokenises what was not tokenised before, and splits it.

    Args:
        recipe: The experiment.
        base: Local folder of the base model; None: random weights.
        progress: Told of documents and bytes done.
        known_fingerprints: `Prepared.fingerprints` of the same data, validated elsewhere: a store that is there is then used without
            a look at the data, and data that has changed since is a fault.
        processes: How many may tokenise at once, where there is enough to do; the bytes are the same.

    Raises:
        RecipeError: No data is named.
        PluginError: There is no such data source.
        DataError: The data or the tokenizer is invalid: every fault of training and validation data.
        StorageError: A location cannot be read, or the store not written.
    """
    tokenizer = resolve_tokenizer(recipe, base)
    root = store_root(recipe.data.store)
    sets = DataSets.of(recipe, tokenizer, root)
    stores = sets.stores(known_fingerprints or {}, processes, progress)
    train, validation = split(stores.pop(TRAIN), stores)
    folder = _saved(tokenizer, local_root(root))
    plan = DataPlan(train, recipe.train.max_length, recipe.train.global_batch_size, recipe.run.seed)
    return Prepared(tokenizer, folder, train, validation, plan)


def shard_job(recipe: Recipe, base: Path | None) -> ShardJob | None:
    """The tokenising that `recipe` needs, for an array of tasks elsewhere: `prepare` then only joins what they have done.

    None where the stores are there, or there is too little to share out.

    Raises:
        UserError: As `prepare`.
    """
    return DataSets.of(recipe, resolve_tokenizer(recipe, base), store_root(recipe.data.store)).shard_job()


def estimated_tokens(recipe: Recipe, base: Path | None) -> int | None:
    """About how many tokens there are to train on, without reading the data; None where its source cannot tell.

    Raises:
        RecipeError, PluginError, DataError, StorageError: The data or the tokenizer is not there.
    """
    is_bytes = resolve_tokenizer(recipe, base).is_bytes
    size_bytes = find_source(recipe).size_bytes(find_locations(recipe)[TRAIN])
    return size_bytes and int(size_bytes / (1 if is_bytes else BYTES_PER_TOKEN))


def split(train: TokenStore, validation: Mapping[str, TokenStore]) -> tuple[DocumentSet, dict[str, DocumentSet]]:
    """What is trained on and what is validated on; without validation sets, documents are held out of `train`.

    Raises:
        DataError: A set, or what remains to train on, has nothing to predict.
    """
    documents = train.everything()
    sets = {name: store.everything() for name, store in validation.items()}
    if not sets and len(documents):
        documents, sets[HELD_OUT] = hold_out(documents)
    short = [name for name, part in {"train": documents, **sets}.items() if part.predicted == 0]
    cure = "Add documents, or name data.validation" if HELD_OUT in sets else "Add text"
    if short:
        raise DataError.of(Fault(f"data ({name})", "", "holds no token to predict", cure) for name in short)
    return documents, sets


def hold_out(documents: DocumentSet) -> tuple[DocumentSet, DocumentSet]:
    """What remains, and the documents with the lowest SHA-256 of their text: 1 %, at least 1, at most 200, duplicates together."""
    keys = documents.store.digests[documents.indices].view(">u8")
    order = np.lexsort((keys[:, 1], keys[:, 0]))
    count = min(max(len(documents) // HELD_OUT_ONE_IN, 1), HELD_OUT_LARGEST)
    last = keys[order[count - 1]]
    held = (keys[:, 0] < last[0]) | ((keys[:, 0] == last[0]) & (keys[:, 1] <= last[1]))
    return DocumentSet(documents.store, documents.indices[~held]), DocumentSet(documents.store, documents.indices[held])


def resolve_tokenizer(recipe: Recipe, base: Path | None) -> TextTokenizer:
    """The recipe's tokenizer: its own, the base's, or bytes.

    Raises:
        DataError: It cannot be read, or has more ids than the model has rows.
    """
    wanted = recipe.tokenizer
    if wanted.name == "file" and wanted.path is None:
        raise RecipeError("tokenizer.path", "null", "names no tokenizer", "tokenizer.path=FOLDER or FILE, or tokenizer=bytes")
    own = str(base) if base and has_tokenizer(base) else None
    location = {"auto": wanted.path or own, "file": wanted.path, "bytes": None}[wanted.name]
    tokenizer = load_tokenizer(location, wanted.bos, wanted.eos) if location else bytes_tokenizer(wanted.bos, wanted.eos)
    check_vocabulary(tokenizer, _embedding_rows(recipe, base))
    return tokenizer


def has_tokenizer(base: Path) -> bool:
    """Whether the base brings a tokenizer; one that only other programs read counts, so that bytes do not take its place unseen."""
    return any((base / name).exists() for name in ("tokenizer.json", "tokenizer.model", "vocab.json", "tokenizer_config.json"))


def check_vocabulary(tokenizer: TextTokenizer, rows: int | None) -> None:
    """Refuses a tokenizer whose ids the embedding has no rows for.

    Raises:
        DataError: It has more than `rows`.
    """
    if rows is not None and tokenizer.vocabulary > rows:
        cure = "Take the base's own tokenizer: tokenizer=auto"
        raise DataError("tokenizer", f"{tokenizer.vocabulary:,} ids", f"the model's vocabulary has {rows:,}", cure)


def _embedding_rows(recipe: Recipe, base: Path | None) -> int | None:
    if recipe.model.architecture is not None:
        return recipe.model.architecture.vocabulary
    config = base / "config.json" if base else None
    rows = json.loads(config.read_bytes()).get("vocab_size") if config and config.is_file() else None
    return rows if isinstance(rows, int) else None


def store_root(named: str | None) -> str:
    """Folder or URL of token stores: `data.store`, else $CPT_STORE, else `cpt/stores` in the user's cache folder."""
    return named or os.environ.get("CPT_STORE") or str(storage.cache_folder() / "stores")


def _saved(tokenizer: TextTokenizer, root: Path) -> Path:
    """The folder that workers open the tokenizer from; named by all that is in it."""
    content = json.dumps([tokenizer.definition, tokenizer.companions, tokenizer.eos_id, tokenizer.bos_id])
    folder = root / f"tokenizer-{hashlib.sha256(content.encode()).hexdigest()[:32]}"
    if not (folder / storage.MARKER).exists():
        with storage.committed_folder(folder) as unfinished:
            tokenizer.save(unfinished)
    return folder
