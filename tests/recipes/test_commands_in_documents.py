"""What the documents tell people to type is a recipe, or a sweep whose members all are; docs/goals.md has tests of its own."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from cpt import offers
from cpt.composition import compose, open_sweep
from cpt.sweeps.sweep import Sweep

ROOT = Path(__file__).parents[2]
PAGES = sorted([ROOT / "README.md", *ROOT.glob("docs/[!g]*.md"), *ROOT.glob("plugins/*/README.md")])
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", flags=re.MULTILINE | re.DOTALL)
NEEDS_A_FILE = ("--recipe", "--config-dir")


def commands(page: Path) -> list[list[str]]:
    """The words of each command that composes a recipe and says all of it."""
    blocks = (text for language, text in BLOCK.findall(page.read_text("utf-8")) if language in ("", "bash"))
    lines = "".join(blocks).replace("\\\n", " ").splitlines()
    typed = [shlex.split(line.partition(" && ")[0], comments=True) for line in lines if re.match(r"cpt (train|plan|prepare) ", line)]
    return [words for words in typed if not {"...", *NEEDS_A_FILE} & set(words)]


ALL = {f"{page.relative_to(ROOT)}: {shlex.join(words[1:])}": words for page in PAGES for words in commands(page)}


def test_they_are_found() -> None:
    assert sum(words[1:3] == ["train", "-m"] for words in ALL.values()) >= 6
    assert len(ALL) > 25


@pytest.mark.parametrize("words", ALL.values(), ids=ALL.keys())
def test_each_composes(words: list[str]) -> None:
    overrides = [word for word in words[2:] if "=" in word and not word.startswith("-")]
    for group, option in (word.partition("=")[::2] for word in overrides):
        for name in option.strip("[]").split(","):
            if (package := offers.package_of(group, name)) in offers.missing().values():
                pytest.skip(f"{package} is not installed")
    if "-m" in words:
        assert Sweep.open(open_sweep(overrides)).size > 1
    else:
        compose(overrides)
