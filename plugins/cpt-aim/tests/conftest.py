"""Warnings are errors, but for the one that importing Aim 3.29 gives."""

from __future__ import annotations

import pytest


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("filterwarnings", r"ignore:The ``declarative_base\(\)`` function")
