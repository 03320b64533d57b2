"""A cluster for kubectl, where kubectl is here."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent / "support"))

from kubernetes_cluster import Cluster


@contextmanager
def running(folder: Path) -> Iterator[Cluster]:
    """A cluster that kubectl's current context leads to, meanwhile."""
    if shutil.which("kubectl") is None:
        pytest.skip("kubectl is not installed")
    cluster = Cluster(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(folder))
        patch.setenv("KUBECONFIG", str(cluster.kubeconfig))
        yield cluster
    cluster.close()


@pytest.fixture
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A cluster of a test's own."""
    with running(tmp_path_factory.mktemp("cluster")) as cluster:
        yield cluster


@pytest.fixture(scope="class")
def shared_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A cluster for the tests of a class, there before and after each."""
    with running(tmp_path_factory.mktemp("cluster")) as cluster:
        yield cluster
