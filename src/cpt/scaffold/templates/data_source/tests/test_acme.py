"""What cpt asks of any data source, and what this one adds."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import entry_points
from pathlib import Path

from cpt_acme import AcmeOptions, AcmeSource

import cpt
from cpt.testing import DataSourceContract


class TestContract(DataSourceContract):
    plugin = AcmeSource

    def write(self, folder: Path, texts: Sequence[str]) -> Sequence[str]:
        folder.mkdir(parents=True, exist_ok=True)
        for number, text in enumerate(texts):
            (folder / f"{number}.txt").write_text(text, encoding="utf-8")
        return [str(folder)]


def test_it_is_installed_under_its_name() -> None:
    [point] = entry_points(group="cpt.data_sources", name="acme")
    assert point.load() is AcmeSource


def test_a_recipe_chooses_it() -> None:
    recipe = cpt.compose(["data=acme", "data.train=texts", "data.options.suffix=.md"])
    assert (recipe.data.source, recipe.data.options) == ("acme", {"suffix": ".md"})


def test_files_of_another_suffix_do_not_count(tmp_path: Path) -> None:
    (tmp_path / "page.md").write_text("page")
    (tmp_path / "notes.txt").write_text("notes")
    assert list(AcmeSource(AcmeOptions(suffix=".md")).documents([str(tmp_path)])) == ["page"]
