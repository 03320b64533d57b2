"""What the documents promise is so."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from cpt.recipe import schema
from cpt.recipe.frozen import Frozen

ROOT = Path(__file__).parents[2]
LISTED = subprocess.run(["git", "ls-files", "-co", "--exclude-standard", "*.md"], cwd=ROOT, capture_output=True, text=True, check=False)
DOCUMENTS = [ROOT / line for line in LISTED.stdout.splitlines()]
ADRS = sorted((ROOT / "docs/adr").glob("[0-9]*.md"))
LINK = re.compile(r"\]\(([^)\s]+)\)")


def dead_links(text: str, folder: Path) -> list[str]:
    """Relative links whose file is not there."""
    targets = [target.partition("#")[0] for target in LINK.findall(text) if "://" not in target and not target.startswith("mailto:")]
    return [target for target in targets if target and not (folder / target).exists()]


def commands(text: str) -> list[str]:
    """The shell blocks of a page."""
    return re.findall(r"^```bash\n(.*?)\n```$", text, flags=re.MULTILINE | re.DOTALL)


def test_the_readme_starts_with_its_two_commands_a_line_each() -> None:
    default, test = commands((ROOT / "README.md").read_text())[:2]
    assert default.endswith("python -m cpt train")
    assert test.endswith("python -m pytest")
    assert "\n" not in default + test


def test_ci_runs_the_readmes_commands_word_for_word(tmp_path: Path) -> None:
    folder = tmp_path / ".ci"
    folder.mkdir()
    (folder / "run").write_text((ROOT / ".ci/run").read_text())
    readme = "# x\n```bash\nfalse\n```\nand\n```bash\necho tested >> seen && exit 3\n```\n```bash\necho installed > seen\n```\n"
    (tmp_path / "README.md").write_text(readme)
    assert subprocess.run(["bash", ".ci/run"], cwd=tmp_path, check=False).returncode == 3
    assert (tmp_path / "seen").read_text() == "installed\ntested\n"


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) < 150


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_relative_link_is_dead(path: Path) -> None:
    assert dead_links(path.read_text("utf-8"), path.parent) == []


def test_a_dead_link_is_seen(tmp_path: Path) -> None:
    assert dead_links("[a](gone.md#x) [b](https://example.org) [c](#here)", tmp_path) == ["gone.md"]


@pytest.mark.parametrize("path", ADRS, ids=lambda path: path.name)
def test_a_decision_has_its_four_headings(path: Path) -> None:
    headings = re.findall(r"^## (.+)$", path.read_text("utf-8"), flags=re.MULTILINE)
    assert headings == ["Context", "Decision", "Price", "When to revisit"]


def test_decisions_are_numbered_without_a_gap_and_listed() -> None:
    assert [int(path.name[:4]) for path in ADRS] == list(range(1, len(ADRS) + 1))
    index = (ROOT / "docs/adr/README.md").read_text("utf-8")
    assert [path.name for path in ADRS if path.name not in index] == []


def recipe_keys() -> set[str]:
    """`group.key` of every key that a person types."""
    groups = {name: field.annotation for name, field in schema.Recipe.model_fields.items()}
    typed = {name: group for name, group in groups.items() if isinstance(group, type) and issubclass(group, Frozen)}
    return {f"{name}.{key}" for name, group in typed.items() for key in group.model_fields}


def test_docs_recipe_lists_every_key_of_the_recipe_and_no_other() -> None:
    page = (ROOT / "docs/recipe.md").read_text("utf-8")
    assert set(re.findall(r"^\| `([a-z_]+\.[a-z_]+)` \|", page, flags=re.MULTILINE)) == recipe_keys()
