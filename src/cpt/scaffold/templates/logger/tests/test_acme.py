"""What cpt asks of any logger, and what this one adds."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import entry_points
from pathlib import Path

from cpt_acme import FILE, AcmeLogger

import cpt
from cpt.testing import LoggerContract


class TestContract(LoggerContract):
    plugin = AcmeLogger

    def rows(self, folder: Path, run_name: str) -> Sequence[tuple[int, str, float]]:
        lines = [line.split("\t") for line in (folder / FILE).read_text(encoding="utf-8").splitlines()]
        return [(int(step), name, float(value)) for step, name, value in lines]


def test_it_is_installed_under_its_name() -> None:
    [point] = entry_points(group="cpt.loggers", name="acme")
    assert point.load() is AcmeLogger


def test_a_recipe_chooses_it() -> None:
    recipe = cpt.compose(["logger=acme", "logger.acme.digits=4"])
    assert recipe.logger == {"acme": {"digits": 4}}
