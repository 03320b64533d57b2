"""What the processes of a job leave: the rank that failed first is heard, and nothing of an earlier job is."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from cpt.errors import CptError, Fault, Preempted, UserError
from cpt.job import Job, Weights, launch, write_result
from cpt.recipe.architecture import Architecture

FULL = Fault("checkpoints", "", "no space is left")


def scripted(code: int, *answers: dict) -> Callable[[Sequence[str]], int]:
    """What leaves the given answers in their order, and ends with the given code."""

    def start(argv: Sequence[str]) -> int:
        for answer in answers:
            write_result(Path(argv[-1]).parent, **answer)
            time.sleep(0.02)  # a file system's clock is coarse
        return code

    return start


@pytest.fixture
def job() -> Job:
    sizes = dict.fromkeys(("layers", "width", "heads", "kv_heads", "head_width", "ffn_width", "vocabulary", "positions"), 8)
    architecture = Architecture(family="llama", rope_theta=1e4, norm_eps=1e-5, tied_embeddings=True, **sizes)
    return Job("train", Weights("random", None, architecture), {})


def test_a_fault_is_heard_through_the_broken_connections_that_follow(tmp_path: Path, job: Job) -> None:
    answers = ({"rank": 0, "faults": (FULL,), "message": str(FULL)}, {"rank": 1, "message": "Connection closed by peer"})
    with pytest.raises(UserError, match="no space is left"):
        launch(job, scripted(1, *answers), tmp_path)


def test_the_rank_that_fails_first_says_why(tmp_path: Path, job: Job) -> None:
    answers = ({"rank": 1, "message": "out of memory"}, {"rank": 0, "message": "Connection closed by peer"})
    with pytest.raises(CptError, match="out of memory"):
        launch(job, scripted(1, *answers), tmp_path)


def test_an_earlier_job_is_not_taken_for_an_answer(tmp_path: Path, job: Job) -> None:
    with pytest.raises(UserError):
        launch(job, scripted(2, {"rank": 0, "faults": (FULL,)}), tmp_path)
    with pytest.raises(Preempted):
        launch(job, scripted(75), tmp_path)
