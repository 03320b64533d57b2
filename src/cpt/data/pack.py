"""Which documents share a sequence: pieces of documents, and a best-fit plan of sequences of at most `max_length` tokens."""

from __future__ import annotations

from bisect import bisect_left, insort
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Int64s = NDArray[np.int64]


@dataclass(frozen=True)
class Pieces:
    """Runs of tokens, each of one document.

    Args:
        starts: Position [P] of the first token in the store.
        lengths: Tokens [P].
        documents: Index [P] of the document in the store.
        closed: True [P] where the last token predicts nothing; else it predicts the token after the piece.
    """

    starts: Int64s
    lengths: Int64s
    documents: Int64s
    closed: NDArray[np.bool_]

    def take(self, order: Int64s) -> Pieces:
        """The pieces at `order`."""
        return Pieces(self.starts[order], self.lengths[order], self.documents[order], self.closed[order])


@dataclass(frozen=True)
class Packing:
    """Sequences of pieces.

    Args:
        max_length: Tokens that a sequence has room for.
        offsets: Sequence s holds the pieces `offsets[s]` to `offsets[s + 1]` [S + 1].
        pieces: All pieces, sequence after sequence.
        tokens: Tokens [S] of each sequence, without padding.
        predicted: Tokens [S] of each sequence that predict a next one.
    """

    max_length: int
    offsets: Int64s
    pieces: Pieces
    tokens: Int64s
    predicted: Int64s

    @property
    def sequences(self) -> int:
        """Sequences S."""
        return len(self.tokens)

    @property
    def fill(self) -> float:
        """Share of the room that tokens take; the rest is padding."""
        return float(self.tokens.sum() / (self.max_length * self.sequences)) if self.sequences else 0.0


def training_pieces(offsets: Int64s, documents: Int64s, max_length: int) -> Pieces:
    """Each document whole or, where it is longer than `max_length`, as full windows and the rest.

    Every token stands in exactly one piece. A window's last token predicts the first of the next window.

    Args:
        offsets: Position of each document's first token in the store, and the end of the last one [N + 1].
        documents: Indices of the documents to take.
        max_length: Tokens that a piece may have.
    """
    return _windows(offsets, documents, max_length, stride=max_length)


def evaluation_pieces(offsets: Int64s, documents: Int64s, max_length: int) -> Pieces:
    """Windows of `max_length` tokens that overlap by one: every token after a document's first is predicted exactly once."""
    return _windows(offsets, documents, max_length, stride=max_length - 1)


def _windows(offsets: Int64s, documents: Int64s, max_length: int, stride: int) -> Pieces:
    overlap = max_length - stride
    lengths = offsets[documents + 1] - offsets[documents]
    counts = np.maximum(-(-(lengths - overlap) // stride), 0)
    owner = np.repeat(np.arange(len(documents)), counts)
    window = np.arange(len(owner)) - np.repeat(np.cumsum(counts) - counts, counts)
    left = lengths[owner] - window * stride
    starts = offsets[documents][owner] + window * stride
    closed = (left <= max_length) if overlap == 0 else np.ones(len(owner), dtype=np.bool_)
    return Pieces(starts, np.minimum(left, max_length), documents[owner], closed)


def pack(pieces: Pieces, max_length: int) -> Packing:
    """Best fit, longest first: each piece goes where it leaves the least room. No piece is cut.

    Takes O(P + R log L) steps for P pieces, where R counts the rounds in which pieces of one length meet sequences of one room.

    Source: "Fewer Truncations Improve Language Modeling", arXiv 2404.10830, section 3.
    """
    sequence = _best_fit(pieces.lengths, max_length)
    ordered = pieces.take(np.argsort(sequence, kind="stable"))
    count = int(sequence.max()) + 1 if len(sequence) else 0
    offsets = np.concatenate([[0], np.cumsum(np.bincount(sequence, minlength=count))]).astype(np.int64)
    tokens = _sums(ordered.lengths, offsets)
    return Packing(max_length, offsets, ordered, tokens, tokens - _sums(ordered.closed.astype(np.int64), offsets))


def _sums(values: Int64s, offsets: Int64s) -> Int64s:
    total = np.concatenate([[0], np.cumsum(values)])
    return np.asarray(total[offsets[1:]] - total[offsets[:-1]], dtype=np.int64)


def _best_fit(lengths: Int64s, max_length: int) -> Int64s:
    """The sequence [P] of each piece. Pieces of one length are placed together: they are interchangeable."""
    order = np.argsort(-lengths, kind="stable")
    sequence = np.empty(len(lengths), dtype=np.int64)
    rooms = _Rooms(max_length)
    for same in np.split(order, np.flatnonzero(np.diff(lengths[order])) + 1):
        placed = 0
        while placed < len(same):
            length = int(lengths[same[0]])
            chosen = rooms.fill(length, len(same) - placed)
            sequence[same[placed : placed + len(chosen)]] = chosen
            placed += len(chosen)
    return sequence


class _Rooms:
    """Open sequences by the room that is left in them."""

    def __init__(self, max_length: int) -> None:
        self.max_length, self.opened = max_length, 0
        self.sizes: list[int] = []
        self.by_size: dict[int, list[Int64s]] = {}

    def fill(self, length: int, count: int) -> Int64s:
        """The sequences that take up to `count` pieces of `length` where the least room is left."""
        room, sequences = self._tightest(length, count)
        each = room // length
        needed = -(-count // each)
        used = sequences[:needed]
        chosen = np.repeat(used, each)[:count]
        in_last = len(chosen) - (len(used) - 1) * each
        self._put(room, sequences[needed:])
        self._put(room - each * length, used[:-1])
        self._put(room - in_last * length, used[-1:])
        return chosen

    def _tightest(self, length: int, count: int) -> tuple[int, Int64s]:
        at = bisect_left(self.sizes, length)
        if at == len(self.sizes):
            new = -(-count // (self.max_length // length))
            self.opened += new
            return self.max_length, np.arange(self.opened - new, self.opened)
        room = self.sizes[at]
        sequences = self.by_size[room].pop()
        if not self.by_size[room]:
            del self.by_size[room], self.sizes[at]
        return room, sequences

    def _put(self, room: int, sequences: Int64s) -> None:
        if room and len(sequences):
            if room not in self.by_size:
                insort(self.sizes, room)
            self.by_size.setdefault(room, []).append(sequences)
