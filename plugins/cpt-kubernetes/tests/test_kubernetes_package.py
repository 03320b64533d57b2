"""What is installed, and the image that it runs in."""

from __future__ import annotations

import re
import shlex
import tomllib
from pathlib import Path

import pytest

import cpt
from cpt import plugins
from cpt_kubernetes import KubernetesLauncher

PACKAGE = Path(__file__).parents[1]
ROOT = PACKAGE.parents[1]
README = (PACKAGE / "README.md").read_text()


def instructions(keyword: str) -> list[list[str]]:
    """The words of each instruction of the Containerfile that begins with `keyword`, continued lines joined."""
    text = (PACKAGE / "Containerfile").read_text().replace("\\\n", " ")
    return [shlex.split(line, comments=True)[1:] for line in text.splitlines() if line.split(" ")[0] == keyword]


def test_it_is_found_by_its_name_and_its_option_composes() -> None:
    recipe = cpt.compose(["model=nova_tiny", "launcher=kubernetes", "launcher.options.image=registry.example/cpt:0.1"])
    assert recipe.launcher.name == "kubernetes"
    found, _ = plugins.load("launchers", "kubernetes", {"image": "registry.example/cpt:0.1"}, "launcher.name")
    assert found is KubernetesLauncher


def test_the_readme_names_every_option() -> None:
    assert [
        name for name in KubernetesLauncher.Options.model_fields if not re.search(rf"^\|.*`{name}`.*\|.*\|", README, re.MULTILINE)
    ] == []


@pytest.mark.skipif(not (ROOT / "constraints.txt").exists(), reason="outside the repository")
def test_what_the_image_copies_is_there() -> None:
    copied = [source for words in instructions("COPY") for source in words[:-1] if not source.startswith("--")]
    assert copied
    assert [source for source in copied if not (ROOT / source).exists()] == []


@pytest.mark.skipif(not (ROOT / "constraints.txt").exists(), reason="outside the repository")
def test_what_the_image_installs_is_there_with_the_extras_that_it_names() -> None:
    words = [word for line in instructions("RUN") if line[:2] == ["pip", "install"] for word in line if word.startswith(".")]
    assert words
    for word in words:
        match = re.fullmatch(r"(?P<path>[\w./-]+)(?:\[(?P<extras>[\w,-]+)\])?", word)
        assert match, word
        project = tomllib.loads((ROOT / match["path"] / "pyproject.toml").read_text())["project"]
        extras = set(match["extras"].split(",")) if match["extras"] else set()
        assert extras <= project.get("optional-dependencies", {}).keys(), word
