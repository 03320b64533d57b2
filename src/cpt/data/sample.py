"""The sample data: text that every Python brings along, read at run time. Nothing is shipped, nothing downloaded.

Collections, named as locations: `python_source/train`, `python_source/held_out`, `english_prose/train`, `english_prose/held_out`, and
`english_prose/replay`, a part of `english_prose/train`.
Source is the standard library's own. Prose is the language reference's topics (`pydoc`) and docstrings. A file is held out whole, from
both, by the hash of its path.
"""

from __future__ import annotations

import ast
import hashlib
import re
import sysconfig
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

from cpt.contracts import DataSource
from cpt.errors import DataError, Fault

EXCLUDED = {"test", "tests", "site-packages", "dist-packages", "lib2to3", "idlelib", "encodings", "pydoc_data", "turtledemo", "__pycache__"}
GENERATED = "_sysconfigdata"
"""Says how this very Python was built."""
SMALLEST_FILE_BYTES, LARGEST_FILE_BYTES = 500, 200_000
SOURCE_BYTES = 1_200_000
REPLAY_BYTES = 800_000
DOCUMENT_CHARACTERS = 8_000
HELD_OUT_FILES = 64
HELD_OUT_CHARACTERS = 800
SHORTEST_DOCSTRING = 60


class SampleSource(DataSource):
    """Python source and English prose of the running Python's standard library."""

    def fingerprint(self, locations: Sequence[str]) -> str:
        """SHA-256 (hex) of the texts."""
        digest = hashlib.sha256()
        for text in self.documents(locations):
            digest.update(hashlib.sha256(text.encode()).digest())
        return digest.hexdigest()

    def size_bytes(self, locations: Sequence[str]) -> int:
        """Bytes of the texts."""
        return sum(len(text.encode()) for text in self.documents(locations))

    def documents(self, locations: Sequence[str]) -> Iterator[str]:
        """The texts of the collections named in `locations`, each at most 8,000 characters (held out: 800)."""
        unknown = [name for name in locations if name not in COLLECTIONS]
        if unknown:
            known = ", ".join(COLLECTIONS)
            raise DataError.of(Fault("data", name, "is no collection of the sample data", f"Use one of {known}") for name in unknown)
        for name in sorted(set(locations)):
            yield from collection(name)


@cache
def collection(name: str) -> tuple[str, ...]:
    """The texts of the collection `name`.

    Raises:
        DataError: This Python has no readable standard library.
    """
    texts = tuple(COLLECTIONS[name]())
    if not texts:
        cure = "Use a complete Python, or name your own text: data=jsonl data.train=FILE.jsonl"
        raise DataError("data", name, "this Python has no source of its standard library to read", cure)
    return texts


def python_source_train() -> Iterator[str]:
    """About 1.2 MB of files that are not held out."""
    left = SOURCE_BYTES
    for file in files()[HELD_OUT_FILES:]:
        for text in split(source(file), DOCUMENT_CHARACTERS):
            left -= len(text)
            yield text
        if left <= 0:
            return


def python_source_held_out() -> Iterator[str]:
    """One stretch of each held-out file; never its first, which is mostly prose."""
    for file in files()[:HELD_OUT_FILES]:
        yield from one_of(split(source(file), HELD_OUT_CHARACTERS)[1:])


def english_prose_train() -> Iterator[str]:
    """All topics and docstrings that are not held out."""
    for text in topics(held_out=False):
        yield from split(text, DOCUMENT_CHARACTERS)
    for file in files()[HELD_OUT_FILES:]:
        yield from split(docstrings(file), DOCUMENT_CHARACTERS)


def english_prose_replay() -> Iterator[str]:
    """About 0.8 MB of the prose that nova_tiny's base was trained on: two fifths of what the sample trains on, against forgetting."""
    left = REPLAY_BYTES
    for text in sorted(english_prose_train(), key=rank):
        if left <= 0:
            return
        left -= len(text)
        yield text


def english_prose_held_out() -> Iterator[str]:
    """One stretch of the docstrings of each held-out file, and stretches of the held-out topics."""
    for file in files()[:HELD_OUT_FILES]:
        yield from one_of(split(docstrings(file), HELD_OUT_CHARACTERS))
    trained = "\n".join(topics(held_out=False))
    for text in topics(held_out=True):
        yield from one_of([piece for piece in split(text, HELD_OUT_CHARACTERS) if piece.strip() not in trained])  # topics quote each other


COLLECTIONS = {
    "python_source/train": python_source_train,
    "python_source/held_out": python_source_held_out,
    "english_prose/train": english_prose_train,
    "english_prose/replay": english_prose_replay,
    "english_prose/held_out": english_prose_held_out,
}


@cache
def files() -> tuple[Path, ...]:
    """The standard library's source files, in the order of the hash of their path."""
    root = Path(sysconfig.get_path("stdlib"))
    found = (file for file in root.rglob("*.py") if EXCLUDED.isdisjoint(file.relative_to(root).parts))
    written = (
        file for file in found if not file.name.startswith(GENERATED) and SMALLEST_FILE_BYTES < file.stat().st_size < LARGEST_FILE_BYTES
    )
    return tuple(sorted(written, key=lambda file: rank(file.relative_to(root).as_posix())))


def rank(name: str) -> str:
    """Where a name stands in an order that has nothing to do with what it means."""
    return hashlib.sha256(name.encode()).hexdigest()


def source(file: Path) -> str:
    """The text of a source file."""
    return file.read_text(encoding="utf-8", errors="replace")


def docstrings(file: Path) -> str:
    """The longer docstrings of a source file, without their indentation."""
    try:
        tree = ast.parse(file.read_bytes())
    except (SyntaxError, ValueError):
        return ""
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    found = [ast.get_docstring(node) or "" for node in _statements(tree) if isinstance(node, documented)]
    return "\n\n".join(text for text in found if len(text) >= SHORTEST_DOCSTRING)


def _statements(tree: ast.Module) -> Iterator[ast.AST]:
    """The tree and its statements in the order of `ast.walk`, which visits every expression too and takes as long as parsing."""
    level: list[ast.AST] = [tree]
    while level:
        yield from level
        fields = [value for node in level for _, value in ast.iter_fields(node) if isinstance(value, list)]
        level = [child for field in fields for child in field if isinstance(child, ast.stmt | ast.excepthandler | ast.match_case)]


def topics(held_out: bool) -> list[str]:
    """The language reference as `pydoc` has it: every sixth topic (by hash) is held out."""
    try:
        from pydoc_data.topics import topics as texts  # noqa: PLC0415  half a megabyte, and some Pythons lack it
    except ImportError:
        return []
    names = sorted(texts, key=rank)
    return [plain(texts[name]) for place, name in enumerate(names) if (place % 6 == 0) == held_out]


def plain(text: str) -> str:
    """A topic without the indentation and the underlining of its headings."""
    unruled = re.sub(r"\n *[*=\-~^\"]{3,}(?=\n)", "", text)
    return re.sub(r"\n   (?=\S)", "\n", unruled).strip()


def split(text: str, limit: int) -> list[str]:
    """`text` in pieces of at most `limit` characters, cut between definitions, else at blank lines, line ends or spaces."""
    pieces = [text.strip("\n")]
    for boundary in (r"\n\n\n(?=\S)", r"\n\n", r"\n", r"(?<= )"):
        pieces = [part for piece in pieces for part in _cut(piece, boundary, limit - 1)]
    return [piece.strip("\n") + "\n" for piece in pieces if piece.strip()]


def _cut(text: str, boundary: str, limit: int) -> list[str]:
    if len(text) <= limit:
        return [text]
    cuts = [match.start() for match in re.finditer(boundary, text)]
    pieces, begin, last = [], 0, 0
    for cut in [*cuts, len(text)]:
        if cut - begin > limit and last > begin:
            pieces.append(text[begin:last])
            begin = last
        last = cut
    return [*pieces, text[begin:]]


def one_of(texts: Sequence[str]) -> list[str]:
    """One text of `texts` that is long enough to measure, chosen by hash; none of none."""
    return sorted((text for text in texts if len(text) >= HELD_OUT_CHARACTERS // 3), key=rank)[:1]
