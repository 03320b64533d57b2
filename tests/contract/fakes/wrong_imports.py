"""A data source that keeps its contract, in a module that imports torch."""

from __future__ import annotations

import torch  # noqa: F401
from wrong_data_sources import Good as Light
from wrong_data_sources import Suite  # noqa: F401


class Good(Light):
    """Good in all else."""

    caught_by = "test_importing_its_module_imports_no_torch"
