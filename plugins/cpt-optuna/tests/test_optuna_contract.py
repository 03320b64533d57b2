"""What every sweeper promises."""

from __future__ import annotations

from typing import ClassVar

import pytest

from cpt.testing import SweeperContract
from cpt_optuna import OptunaSweeper


class TestOptuna(SweeperContract):
    plugin = OptunaSweeper
    options: ClassVar = {"trials": 12, "startup_trials": 3, "pruner": "asha"}


class TestOptunaMedian(SweeperContract):
    plugin = OptunaSweeper
    options: ClassVar = {"trials": 5, "sampler": "random", "pruner": "median"}


@pytest.mark.parametrize("options", [{"sampler": "tp"}, {"trials": 0}, {"pruner": "asha", "reduction_factor": 1}, {"trial": 3}])
def test_options_that_say_nothing_are_refused(options: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="validation error"):
        OptunaSweeper.Options.model_validate(options, extra="forbid")
