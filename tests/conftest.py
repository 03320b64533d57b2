"""What holds for every test: no trace of the user's caches, stores, credentials and network, and one thread."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

os.environ["OMP_NUM_THREADS"] = "1"  # before torch is imported: tests and the processes that they start share the cores


@pytest.fixture(scope="session", autouse=True)
def _own_user(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A user without a past, for fixtures of every scope."""
    home = tmp_path_factory.mktemp("user")
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith(("AWS_", "CPT_", "HF_", "HYDRA_"))]:
            patch.delenv(name)
        patch.setenv("XDG_CACHE_HOME", str(home / "cache"))
        patch.setenv("XDG_CONFIG_HOME", str(home / "config"))
        patch.setenv("HF_HOME", str(home / "huggingface"))
        patch.setenv("HF_HUB_OFFLINE", "1")
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        patch.setenv("CPT_STORE", str(home / "stores"))
        yield


@pytest.fixture(autouse=True)
def _own_store(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Token stores of its own for every test: none is found that another test built."""
    monkeypatch.setenv("CPT_STORE", str(tmp_path_factory.mktemp("stores")))
