"""What this machine has, as a process may use it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from cpt.cores import cores
from cpt.launch.machine import gpus


@pytest.fixture
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(64)), raising=False)


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


@pytest.mark.usefixtures("wide")
def test_cores_are_those_of_the_tightest_control_group(tmp_path: Path) -> None:
    membership = write(tmp_path / "membership", "0::/pod/box\n")
    groups = tmp_path / "groups"
    assert cores(groups, membership) == 64
    write(groups / "cpu.max", "max 100000\n")
    write(groups / "pod" / "cpu.max", "800000 100000\n")
    assert cores(groups, membership) == 8
    write(groups / "pod" / "box" / "cpu.max", "150000 100000\n")
    assert cores(groups, membership) == 2
    write(groups / "pod" / "box" / "cpu.max", "10000 100000\n")
    assert cores(groups, membership) == 1


@pytest.mark.usefixtures("wide")
def test_cores_heed_version_1_groups(tmp_path: Path) -> None:
    write(tmp_path / "cpu" / "cpu.cfs_quota_us", "400000\n")
    write(tmp_path / "cpu" / "cpu.cfs_period_us", "100000\n")
    assert cores(tmp_path, tmp_path / "none") == 4
    write(tmp_path / "cpu" / "cpu.cfs_quota_us", "-1\n")
    assert cores(tmp_path, tmp_path / "none") == 64


def test_cores_heed_affinity(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {3}, raising=False)
    assert cores(tmp_path, tmp_path / "none") == 1


def driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, listing: str) -> None:
    program = write(tmp_path / "nvidia-smi", f"#!/bin/sh\ncat <<'END'\n{listing}\nEND\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")


def test_gpus_are_named_and_only_the_visible_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    driver(tmp_path, monkeypatch, "GPU 0: NVIDIA H100 80GB HBM3 (UUID: GPU-1)\nGPU 1: NVIDIA A10G (UUID: GPU-2)")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert gpus() == ("NVIDIA H100 80GB HBM3", "NVIDIA A10G")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    assert gpus() == ("NVIDIA A10G",)
    for nothing in ("", "-1"):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", nothing)
        assert gpus() == ()


def test_a_machine_without_a_driver_has_no_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    if not Path("/proc/driver/nvidia/gpus").exists():
        assert gpus() == ()
