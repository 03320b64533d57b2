"""A run that is handed over: agents on several nodes do it together, and the same command again goes on exactly."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from command import run_cpt, write_domain
from runs import QUICK, losses, rows

from cpt import composition, handover, jobs
from cpt.contracts import JobRef
from cpt.order import Submitted
from cpt.rundir import RunDirectory
from cpt.submission import make_submission
from cpt.submit import open_run

NODES = ("cluster.nodes=2", "cluster.processes=1", "run.output=o")


@pytest.fixture
def hand_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., RunDirectory]:
    """Writes the order of a run, as a launcher that submits would, and notes a job."""
    write_domain(tmp_path)
    monkeypatch.chdir(tmp_path)

    def hand_over(*overrides: str) -> RunDirectory:
        composed = composition.compose([*QUICK, *NODES, *overrides])
        submission = make_submission(composed.recipe)
        run = open_run(submission, None)
        assert handover.write_order(handover.Delivery(run, submission, composed.yaml))
        Submitted.now("local", {}, JobRef("1@2/0", run.name, str(run.job_folder))).write(run)
        return run

    return hand_over


def start(run: RunDirectory, nodes: int = 2) -> list[subprocess.Popen[str]]:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "OMP_NUM_THREADS": "1"}
    return [
        subprocess.Popen(
            [sys.executable, "-m", "cpt.node", run.uri()],
            env=dict(os.environ) | place | {"NODE_RANK": str(node)},
            stderr=subprocess.PIPE,
            text=True,
            cwd="/",
            start_new_session=True,
        )
        for node in range(nodes)
    ]


def finish(agents: list[subprocess.Popen[str]], code: int = 0) -> list[str]:
    said = [agent.communicate(timeout=200)[1] for agent in agents]
    assert [agent.returncode for agent in agents] == [code] * len(agents), "\n".join(said)
    return said


@pytest.mark.long
def test_two_nodes_compute_what_one_process_does(hand_over: Callable[..., RunDirectory], tmp_path: Path) -> None:
    run = hand_over("run.name=two")
    assert (run.manifest() or {})["status"] == "queued"
    finish(start(run))
    run_cpt(tmp_path, "train", *QUICK, "run.output=o", "run.name=one")
    assert losses(tmp_path / "o" / "two") == pytest.approx(losses(tmp_path / "o" / "one"), abs=1e-4)
    manifest = run.manifest() or {}
    assert manifest["status"] == "completed"
    assert manifest["job"]["id"] == "1@2/0"
    assert jobs.view(run.uri()).state == "completed"


@pytest.mark.long
def test_a_job_that_is_killed_or_preempted_and_started_again_ends_the_same(hand_over: Callable[..., RunDirectory], tmp_path: Path) -> None:
    long = ("train.max_steps=30", "checkpoint.every=4", "train.validate_every=10", "model.hidden_dropout=0.1")
    undisturbed = hand_over("run.name=a", *long)
    finish(start(undisturbed))
    run = hand_over("run.name=b", *long)
    agents = start(run)
    wait_for_step(run, 6)
    for agent in agents:
        os.killpg(agent.pid, signal.SIGKILL)
    for agent in agents:
        agent.communicate()
    agents = start(run)
    wait_for_step(run, 14)
    agents[1].send_signal(signal.SIGTERM)  # one node is told: all stop
    assert "committed at step" in finish(agents, 75)[0]
    assert (run.manifest() or {})["status"] == "interrupted"
    finish(start(run))
    same = [{k: v for k, v in row.items() if "per_second" not in k} for row in rows(run.local)]
    assert same == [{k: v for k, v in row.items() if "per_second" not in k} for row in rows(undisturbed.local)]
    assert (run.local / "final" / "model.safetensors").read_bytes() == (undisturbed.local / "final" / "model.safetensors").read_bytes()


def wait_for_step(run: RunDirectory, step: int) -> None:
    deadline = time.monotonic() + 120
    while not (run.local / "metrics.jsonl").exists() or max((row["step"] for row in rows(run.local)), default=0) < step:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_run_that_never_gets_on_is_stuck(hand_over: Callable[..., RunDirectory]) -> None:
    run = hand_over("run.name=stuck")
    (run.job_folder / "attempts.json").write_text(json.dumps([None] * 4))
    said = start(run)
    out = [agent.communicate(timeout=100)[1] for agent in said]
    assert said[0].returncode == 93
    assert "no progress from step 0 in 4 attempts" in out[0]
    assert said[1].returncode == 0


def test_an_agent_without_an_order_says_so(tmp_path: Path) -> None:
    result = subprocess.run([sys.executable, "-m", "cpt.node", str(tmp_path)], capture_output=True, text=True, check=False)
    assert result.returncode == 2
    assert "nothing was submitted" in result.stderr
