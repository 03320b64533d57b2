"""Which job an agent takes itself for."""

from __future__ import annotations

from pathlib import Path

import pytest

from cpt import node
from cpt.composition import compose
from cpt.contracts import JobRef
from cpt.order import Order, Submitted
from cpt.rundir import RunDirectory


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    return RunDirectory(str(tmp_path), "r")


@pytest.fixture
def order(tmp_path: Path) -> Order:
    composed = compose(["launcher=local"])
    return Order("r", composed.recipe, composed.yaml, {}, str(tmp_path), str(tmp_path), 1)


def noted(run: RunDirectory, launcher: str, job: str) -> None:
    Submitted.now(launcher, {}, JobRef(job, "r", "folder")).write(run)


@pytest.mark.parametrize(
    ("launcher", "job", "taken"),
    [
        ("slurm", "7", ("slurm", "7")),
        ("slurm", "5,6,7", ("slurm", "5,6,7")),
        ("slurm", "4", ("slurm", "7")),
        ("other", "4", ("other", "4")),
    ],
)
def test_a_job_that_was_submitted_by_hand_knows_itself(
    run: RunDirectory, order: Order, monkeypatch: pytest.MonkeyPatch, launcher: str, job: str, taken: tuple[str, str]
) -> None:
    """The note of an earlier job of the same launcher is out of date; one that names it, or the whole chain, holds."""
    for part, told in (("LAUNCHER", "slurm"), ("ID", "7"), ("FOLDER", "folder")):
        monkeypatch.setenv(f"CPT_JOB_{part}", told)
    assert (found := node._job(run, order))
    assert (found.launcher, found.id) == ("slurm", "7")
    noted(run, launcher, job)
    assert (found := node._job(run, order))
    assert (found.launcher, found.id) == taken


def test_an_agent_that_nobody_told_waits_for_the_note(run: RunDirectory, order: Order, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(node, "SUBMITTER_S", 0.3)
    assert node._job(run, order) is None
    noted(run, "slurm", "")
    assert node._job(run, order) is None
    noted(run, "slurm", "9")
    assert (found := node._job(run, order))
    assert found.id == "9"
