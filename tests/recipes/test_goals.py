"""What docs/goals.md tells people to type composes and plans, and its figures are the planner's."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest

from cpt import api, plugins
from cpt.base import HUB_NAME
from cpt.composition import compose
from cpt.planning.layout import fits
from cpt.planning.plan import Plan, Size, make_plan
from cpt.recipe import amazon
from cpt.resources import world_size

PAGE = (Path(__file__).parents[2] / "docs/goals.md").read_text("utf-8")
BLOCKS = re.findall(r"^```\n(.*?)^```$", PAGE, flags=re.MULTILINE | re.DOTALL)
COMMANDS = [line for block in BLOCKS for line in block.splitlines()]
FIGURES = re.findall(r"^\| `([^`]+)` \| ([\d.]+) of (\d+) GB \| ([\d.]+) h \| (?:\$([\d,]+))? ?\|$", PAGE, flags=re.MULTILINE)
ONE_BILLION = 1_000_000_000
FILES = ("domain.jsonl", "general.jsonl", "domain_new.jsonl", "general_new.jsonl")
DOCUMENT = '{"text": "A valve opens at seven bar."}\n'


def overrides_of(command: str) -> list[str]:
    """The recipe that a command line names."""
    return [word for word in shlex.split(command)[1:] if "=" in word]


def launcher_of(command: str) -> str | None:
    return next((word.partition("=")[2] for word in overrides_of(command) if word.startswith("launcher=")), None)


def member(overrides: list[str]) -> list[str]:
    """The first member of a grid."""
    return [word.partition(",")[0] if re.fullmatch(r"[\w.]+=[^\[{']*,.*", word) else word for word in overrides]


def random_start(recipe: Any) -> list[str]:
    """What stands in for weights of the hub, which tests do not fetch: the preset's shape alone."""
    return ["model.init=random"] if HUB_NAME.fullmatch(recipe.model.init or "") else []


def plan(overrides: list[str], tokens: int) -> tuple[Any, Plan]:
    recipe = compose([*overrides, "model.init=random"]).recipe
    size = Size(tokens // recipe.train.max_length, tokens, exact=False)
    return recipe, make_plan(recipe, recipe.model.architecture, size, world_size(recipe))


@pytest.fixture
def bucket(s3: str) -> Iterator[None]:
    """The bucket that the page names, with its file."""
    filesystem = fsspec.filesystem("s3", skip_instance_cache=True)
    filesystem.mkdir("my-bucket")
    filesystem.pipe_file("my-bucket/train.jsonl", DOCUMENT.encode())
    yield
    filesystem.rm("my-bucket", recursive=True)


def test_every_goal_has_its_lines() -> None:
    assert len(BLOCKS) == 4
    assert all(line.startswith("cpt ") for line in COMMANDS)
    assert {launcher_of(line) for line in COMMANDS} == {None, "slurm", "hyperpod"}
    assert {name for line in COMMANDS for name in re.findall(r"\w+\.jsonl", line)} == {*FILES, "train.jsonl"}


@pytest.mark.parametrize("command", COMMANDS, ids=lambda line: line[:60])
def test_a_line_composes_and_its_plan_fits(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    for name in FILES:
        (tmp_path / name).write_text(DOCUMENT)
    monkeypatch.chdir(tmp_path)
    if "s3://" in command:
        request.getfixturevalue("bucket")
    name = launcher_of(command)
    if name and name not in {plugin.name for plugin in plugins.installed("launchers")}:
        pytest.skip(f"the plugin cpt-{name} is not installed")
    overrides = member(overrides_of(command))
    recipe = compose(overrides).recipe
    if name:
        plugins.load("launchers", name, recipe.launcher.options, "launcher")
    if command.startswith("cpt recipe export"):
        assert amazon.to_amazon(recipe)
    found = api.plan(compose([*overrides, *random_start(recipe)]).recipe)
    assert fits(found.layout.memory_gb, recipe)
    assert recipe.cluster.memory_gb is not None


def test_the_page_has_figures_for_each_experiment() -> None:
    assert {row[0].split()[0] for row in FIGURES} == {"experiment=one_card", "experiment=one_node", "experiment=many_nodes"}
    assert len(FIGURES) == len(re.findall(r"^\| `", PAGE, flags=re.MULTILINE))


@pytest.mark.parametrize("row", FIGURES, ids=lambda row: row[0])
def test_its_figures_are_the_planners(row: tuple[str, ...]) -> None:
    overrides, memory_gb, of_gb, hours, price = row
    recipe, found = plan([*overrides.split(), "data.train=x.jsonl"], ONE_BILLION)
    assert recipe.cluster.memory_gb == float(of_gb)
    assert found.layout.memory_gb == pytest.approx(float(memory_gb), abs=0.05)
    assert found.seconds / 3600 == pytest.approx(float(hours), abs=0.05)
    assert bool(price) == bool(found.price)
    if found.price:
        assert found.price == pytest.approx(float(price.replace(",", "")), abs=0.5)
