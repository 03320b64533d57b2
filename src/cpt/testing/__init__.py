"""Contract suites for plugins: what `cpt.contracts` promises, as pytest classes. A plugin's test file subclasses one of them.

    from cpt.testing import DataSourceContract

    class TestEcho(DataSourceContract):
        plugin = EchoSource

        def write(self, folder, texts):
            ...

Needs pytest (`pip install 'cpt-train[testing]'`), never torch.
"""

import pytest

pytest.register_assert_rewrite(
    *(f"{__name__}.{module}" for module in ("plugin", "hostile", "data_source", "launcher", "logger", "sweeper"))
)

from cpt.testing.data_source import DataSourceContract  # noqa: E402  (after pytest knows that their asserts are to be explained)
from cpt.testing.launcher import LauncherContract  # noqa: E402
from cpt.testing.logger import LoggerContract  # noqa: E402
from cpt.testing.sweeper import SweeperContract  # noqa: E402

__all__ = ["DataSourceContract", "LauncherContract", "LoggerContract", "SweeperContract"]
