"""`cpt doctor` as it is typed: what it says, how it ends, and that a broken thing does not keep the rest from being looked at."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from command import run_cpt

from cpt.composition import compose
from cpt.doctor import QUESTIONS, Answer, Finding, Level, examine
from cpt.recipe.schema import Recipe

SUBJECTS = {"machine", "memory", "GPUs", "packages", "plugins", "run.output", "data.store", "lease", "products", "all-reduce"}


def answer(what: str, *overrides: str, question: str) -> Answer:
    """The answer to one question, from nothing but the recipe."""
    report = examine(compose(overrides).recipe, {}, {question: QUESTIONS[question]})
    return next(answer for answer in report.answers if answer.what == what)


def test_one_document_tells_all_of_a_machine_that_is_well(tmp_path: Path) -> None:
    result = run_cpt(tmp_path, "doctor", "cluster.processes=2", "--json")
    report = json.loads(result.stdout)
    assert {finding["subject"] for finding in report["findings"]} == SUBJECTS
    assert {finding["level"] for finding in report["findings"]} <= {"ok", "warning"}
    figures = {name: figure for finding in report["findings"] for name, figure in finding["figures"].items()}
    assert figures["cores"] >= 1
    assert figures["write_mb_per_s"] > 0 < figures["read_mb_per_s"]
    assert figures["fp32_tflops"] > 0 < figures["bf16_tflops"]
    assert (figures["processes"], figures["bus_gb_per_s"] > 0) == (2, True)
    answers = {answer["what"]: answer["works"] for answer in report["answers"]}
    assert answers["train nova_tiny"] is answers["launcher=local"] is answers["bf16"] is True
    assert answers["S3"] is None
    assert list(tmp_path.iterdir()) == []


def test_a_problem_ends_it_with_2_and_is_a_line_with_a_cure(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    result = run_cpt(tmp_path, "doctor", "run.output=file/runs", code=2)
    lines = [" ".join(line.split()) for line in result.stdout.splitlines()]
    assert "problem run.output file/runs: not a directory. Check the path." in lines
    assert any(line.startswith("ok products") for line in lines)
    assert any(line.startswith("no train nova_tiny") and "not a directory" in line for line in lines)


def test_a_recipe_that_does_not_compose_is_refused_as_by_any_verb(tmp_path: Path) -> None:
    assert "Did you mean optim.lr?" in run_cpt(tmp_path, "doctor", "optim.lrr=1", code=2).stderr


def broken(recipe: Recipe) -> Iterator[Finding]:
    yield Finding("broken", "found before it broke")
    raise SystemExit(3)


def stuck(recipe: Recipe) -> Iterator[Finding]:
    yield Finding("stuck", "found before it hung")
    time.sleep(60)


def well(recipe: Recipe) -> Iterator[Finding]:
    yield Finding("well", "looked at")


def test_what_raises_or_hangs_is_a_problem_and_the_rest_is_looked_at() -> None:
    seen: list[str] = []
    checks = {"broken": (broken, 5.0), "stuck": (stuck, 0.2), "well": (well, 5.0)}
    report = examine(compose([]).recipe, checks, {}, seen.append)
    assert [(finding.subject, finding.level) for finding in report.findings] == [
        ("broken", Level.OK),
        ("broken", Level.PROBLEM),
        ("stuck", Level.OK),
        ("stuck", Level.PROBLEM),
        ("well", Level.OK),
    ]
    assert "SystemExit: 3" in report.findings[1].text
    assert "no answer within 0.2 s" in report.findings[3].text
    assert seen == ["broken", "stuck", "well"]
    assert report.exit_code == 2


def test_an_answer_says_why_a_recipe_would_not_train() -> None:
    given = answer("train nova_tiny", "cluster=p5x2", "launcher=local", question="train this")
    assert given.works is False
    assert "needs 2 nodes of 8 H100" in given.why


def test_memory_that_is_not_here_is_an_answer() -> None:
    given = answer("train nova_pro", "model=nova_pro", "cluster.processes=1", question="train this")
    assert given.works is False
    assert re.search(r"needs [\d.]+ GB of memory, and [\d.]+ GB are free", given.why)


def test_weights_of_the_hub_are_not_fetched_to_answer() -> None:
    assert answer("train qwen3_0_6b", "model=qwen3_0_6b", "model.init=Qwen/Qwen3-0.6B", question="train this").works is None


def test_a_launcher_whose_program_is_not_here_says_which(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    given = answer("launcher=slurm", question="launchers")
    assert given.works is False
    assert given.why.startswith("sbatch is not on the PATH")


def test_a_doctor_that_is_stopped_leaves_neither_processes_nor_files(tmp_path: Path) -> None:
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    command = [sys.executable, "-m", "cpt", "doctor"]
    doctor = subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not list(tmp_path.glob("cpt-doctor-*/job.json")) and time.monotonic() < deadline:
        time.sleep(0.05)
    (job,) = tmp_path.glob("cpt-doctor-*/job.json")
    doctor.send_signal(signal.SIGTERM)
    assert doctor.wait(30) == 75
    time.sleep(0.5)
    running = b""
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):  # a process that has just ended
            running += file.read_bytes()
    assert str(job).encode() not in running
    assert list(tmp_path.iterdir()) == []
