"""Which sequences stand in which step: a pure function of the data plan and the step's number."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from cpt.data.pack import Int64s, Packing, pack, training_pieces
from cpt.data.store import DocumentSet

UInt64s = NDArray[np.uint64]
FEISTEL_ROUNDS = 8


@dataclass(frozen=True)
class DataPlan:
    """The order of training: every sequence once an epoch, shuffled anew in each.

    Args:
        documents: What is trained on.
        max_length: Tokens in a sequence.
        global_batch_size: Sequences in a step; the last step of an epoch may have fewer.
        seed: Decides the order.
    """

    documents: DocumentSet
    max_length: int
    global_batch_size: int
    seed: int

    @cached_property
    def packing(self) -> Packing:
        """The sequences."""
        return pack(training_pieces(self.documents.store.offsets, self.documents.indices, self.max_length), self.max_length)

    @property
    def sequences(self) -> int:
        """Sequences in an epoch."""
        return self.packing.sequences

    @property
    def steps_per_epoch(self) -> int:
        """Optimizer steps in an epoch."""
        return -(-self.sequences // self.global_batch_size)

    def reordered(self, global_batch_size: int, seed: int) -> DataPlan:
        """Another order of the same sequences, which are not packed again."""
        other = replace(self, global_batch_size=global_batch_size, seed=seed)
        vars(other)["packing"] = self.packing
        return other

    def sequences_of_step(self, step: int) -> Int64s:
        """The sequences in step `step` (from 1), in order."""
        epoch, step_of_epoch = divmod(step - 1, self.steps_per_epoch)
        first = step_of_epoch * self.global_batch_size
        places = np.arange(first, min(first + self.global_batch_size, self.sequences))
        return permute(places, self.sequences, (self.seed << 32) + epoch)

    def tokens_of_step(self, step: int) -> int:
        """Input tokens in step `step`, without padding."""
        return int(self.packing.tokens[self.sequences_of_step(step)].sum())

    def predicted_of_step(self, step: int) -> int:
        """Tokens that step `step` predicts: what its loss is the mean over."""
        return int(self.packing.predicted[self.sequences_of_step(step)].sum())

    def documents_of_step(self, step: int) -> Int64s:
        """Indices in the store of the documents that step `step` sees, ascending."""
        packing = self.packing
        pieces = [np.arange(packing.offsets[s], packing.offsets[s + 1]) for s in self.sequences_of_step(step)]
        return np.unique(packing.pieces.documents[np.concatenate(pieces)])


def permute(places: Int64s, size: int, key: int) -> Int64s:
    """Where a permutation of range(`size`), chosen by `key`, sends each of `places`: O(1) a place, without the whole.

    Source: Black and Rogaway, "Ciphers with Arbitrary Finite Domains" (CT-RSA 2002): a Feistel network on the next power of four,
    applied until the result falls within range(`size`).
    """
    half_bits = np.uint64(max(1, -(-(size - 1).bit_length() // 2)))
    result = places.astype(np.uint64)
    outside = np.ones(len(result), dtype=np.bool_)
    while outside.any():
        result[outside] = _feistel(result[outside], half_bits, key)
        outside = result >= size
    return result.astype(np.int64)


def _feistel(values: UInt64s, half_bits: np.uint64, key: int) -> UInt64s:
    mask = (np.uint64(1) << half_bits) - np.uint64(1)
    left, right = values >> half_bits, values & mask
    for round_ in range(FEISTEL_ROUNDS):
        secret = _mix(np.array([(key + round_ * 0x9E3779B97F4A7C15) % 2**64], dtype=np.uint64))
        left, right = right, left ^ (_mix(right + secret) & mask)
    return (left << half_bits) | right


def _mix(values: UInt64s) -> UInt64s:
    """SplitMix64's finaliser (Steele, Lea and Flood, "Fast Splittable Pseudorandom Number Generators", OOPSLA 2014)."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))
