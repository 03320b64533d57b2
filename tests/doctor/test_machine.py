"""What the doctor reads of the machine: memory within its limits, GPUs as nvidia-smi tells, torch's build without torch."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from cpt.composition import compose
from cpt.doctor import CHECKS, Finding, examine
from cpt.doctor.machine import memory_limit_gb, torch_build
from cpt.training.speed import bus_gb_per_s


def findings(subject: str, *overrides: str) -> list[Finding]:
    return list(examine(compose(overrides).recipe, {subject: CHECKS[subject]}, {}).findings)


def control_groups(root: Path, membership: str, files: dict[str, str]) -> tuple[Path, Path]:
    """Control groups as the kernel shows them, and a process's membership."""
    for name, text in files.items():
        file = root / "cgroup" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text + "\n")
    (root / "membership").write_text(membership)
    return root / "cgroup", root / "membership"


@pytest.mark.parametrize(
    ("membership", "files", "limit_gb"),
    [
        ("0::/a/b\n", {"a/b/memory.max": "max", "a/memory.max": "4000000000"}, 4.0),
        ("0::/a/b\n", {"a/b/memory.max": "2000000000", "a/memory.max": "4000000000"}, 2.0),
        ("0::/a\n", {"a/memory.max": "max"}, None),
        ("4:memory:/c\n0::/\n", {"memory/c/memory.limit_in_bytes": "8000000000"}, 8.0),
        ("4:cpu,memory:/c\n", {"cpu,memory/c/memory.limit_in_bytes": "9223372036854771712"}, None),
        ("", {}, None),
    ],
)
def test_the_smallest_memory_limit_counts(tmp_path: Path, membership: str, files: dict[str, str], limit_gb: float | None) -> None:
    assert memory_limit_gb(*control_groups(tmp_path, membership, files)) == limit_gb


def test_this_machines_memory_is_told() -> None:
    figures = findings("memory")[0].figures
    assert 0 < figures["free_memory_gb"] <= figures["memory_gb"]


def test_torchs_build_is_read_without_torch() -> None:
    code = (
        "import sys; from cpt.doctor.machine import torch_build; build = torch_build(); assert 'torch' not in sys.modules; import torch; "
    )
    code += "assert build == (torch.__version__, torch.version.cuda), build"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.fixture
def nvidia_smi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A program of that name, first on the PATH: no GPU is here."""
    program = tmp_path / "nvidia-smi"
    program.touch(mode=0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    return program


def test_gpus_are_told_by_kind_and_a_build_without_cuda_is_a_problem(nvidia_smi: Path) -> None:
    nvidia_smi.write_text("#!/bin/sh\necho 'NVIDIA L4, 23034, 580.65.06'\necho 'NVIDIA L4, 23034, 580.65.06'\n")
    (finding,) = findings("GPUs")
    assert finding.text.startswith("2 x NVIDIA L4, 23 GB · driver 580.65.06 · torch")
    assert finding.figures["gpus"][0] == {"name": "NVIDIA L4", "memory_mb": "23034", "driver": "580.65.06"}
    if torch_build()[1] is None:
        assert finding.level == "problem"
        assert "build of torch with CUDA" in finding.cure


@pytest.mark.parametrize(("cuda", "driver", "level"), [("13.0", "570.1", "problem"), ("13.0", "580.65", "ok"), ("12.8", "570.1", "ok")])
def test_a_driver_must_be_new_enough_for_torchs_cuda(
    nvidia_smi: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, cuda: str, driver: str, level: str
) -> None:
    nvidia_smi.write_text(f"#!/bin/sh\necho 'NVIDIA L4, 23034, {driver}'\n")
    build = tmp_path / "site" / "torch"
    build.mkdir(parents=True)
    (build / "__init__.py").write_text("raise ImportError('the doctor does not run torch')\n")
    (build / "version.py").write_text(f"__version__ = '2.13.0+cu'\ncuda: Optional[str] = '{cuda}'\n")
    monkeypatch.syspath_prepend(build.parent)
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    (finding,) = findings("GPUs")
    assert finding.level == level
    assert f"torch 2.13.0+cu with CUDA {cuda}" in finding.text


def test_a_driver_that_does_not_answer_is_told_in_its_own_words(nvidia_smi: Path) -> None:
    nvidia_smi.write_text("#!/bin/sh\necho 'NVIDIA-SMI has failed because it could not communicate with the NVIDIA driver.'\nexit 9\n")
    (finding,) = findings("GPUs")
    assert finding.level == "warning"
    assert "could not communicate" in finding.text


@pytest.mark.parametrize(("processes", "gb_per_s"), [(2, 1.0), (4, 1.5), (8, 1.75)])
def test_the_bus_carries_twice_all_but_one_share(processes: int, gb_per_s: float) -> None:
    assert bus_gb_per_s(1_000_000_000, 1.0, processes) == gb_per_s
