"""A run given to a launcher: submitted, watched, cancelled, gone on with, from the command line alone."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pretend_cluster
import pytest
from runs import QUICK, losses

ELSEWHERE = (*QUICK, "run.output=o", "launcher=auto", "launcher.name=pretend", "cluster.nodes=2", "cluster.processes=1")
LONG = (*ELSEWHERE, "run.name=long", "train.max_steps=2000")


@pytest.fixture(autouse=True)
def _pretend(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in pretend_cluster.install(tmp_path / "site").items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


def status(cpt: Callable, job: str) -> dict[str, Any]:
    return dict(json.loads(cpt("jobs", "status", job, "--json").stdout))


def until(claim: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 120
    while not claim():
        assert time.monotonic() < deadline
        time.sleep(0.3)


def test_a_run_is_submitted_and_followed_to_its_end(cpt: Callable, tmp_path: Path) -> None:
    submitted = cpt("train", *ELSEWHERE, "run.name=two").stdout
    assert submitted.startswith("submitted  pretend ")
    assert "cpt jobs wait" in submitted
    done = cpt("jobs", "wait", "o/two").stdout
    assert "completed" in done
    assert "done  6 steps" in done
    (listed,) = json.loads(cpt("jobs", "list", "--json").stdout)
    assert (listed["launcher"], listed["state"], listed["steps"], listed["total_steps"]) == ("pretend", "completed", 6, 6)
    assert listed["id"] in cpt("jobs", "list").stdout
    manifest = json.loads((tmp_path / "o" / "two" / "manifest.json").read_text())
    assert (manifest["status"], manifest["job"]["id"]) == ("completed", listed["id"])
    assert "step" in cpt("jobs", "logs", listed["id"]).stdout
    assert "finished already" in cpt("train", *ELSEWHERE, "run.name=two").stderr
    cpt("train", *QUICK, "run.output=o", "run.name=one")
    assert losses(tmp_path / "o" / "two") == pytest.approx(losses(tmp_path / "o" / "one"), abs=1e-4)


def test_a_job_is_cancelled_and_gone_on_with(cpt: Callable, tmp_path: Path) -> None:
    cpt("train", *LONG)
    until(lambda: status(cpt, "o/long")["state"] == "running" and (tmp_path / "o" / "long" / "metrics.jsonl").exists())
    assert "submitted already" in cpt("train", *LONG).stderr
    cpt("jobs", "cancel", "o/long")
    wait = cpt("jobs", "wait", "o/long", code=75)
    assert "cancelled" in wait.stdout
    done = status(cpt, "o/long")["steps"]
    assert 0 < done < 2000
    ends = (*LONG, f"train.max_steps={done + 2}")
    cpt("train", *ends)
    assert f"done  {done + 2} steps" in cpt("jobs", "wait", "o/long").stdout


def test_a_job_knows_its_data_by_what_was_validated_and_needs_the_file_no_more(cpt: Callable, tmp_path: Path) -> None:
    cpt("train", *ELSEWHERE, "run.name=gone")
    (tmp_path / "domain.jsonl").unlink()
    cpt("jobs", "wait", "o/gone")
    assert "domain.jsonl" in cpt("train", *ELSEWHERE, "run.name=gone", "train.max_steps=12", code=2).stderr


def test_a_job_says_in_its_logs_what_it_found_damaged(cpt: Callable, tmp_path: Path) -> None:
    cpt("train", *ELSEWHERE, "run.name=broken")
    cpt("jobs", "wait", "o/broken")
    step = next((tmp_path / "o" / "broken" / "checkpoints").rglob("*.safetensors"))
    step.write_bytes(b"damaged")
    cpt("train", *ELSEWHERE, "run.name=broken", "train.max_steps=12")
    assert "completed" in cpt("jobs", "wait", "o/broken").stdout
    assert "step-00000006" in cpt("jobs", "logs", "o/broken").stdout


def test_a_dry_run_writes_what_would_be_submitted_and_starts_nothing(cpt: Callable, tmp_path: Path) -> None:
    out = cpt("train", *ELSEWHERE, "run.name=dry", "launcher.options.render_to=there", "--dry-run").stdout
    assert "there; nothing was started" in out
    assert "cpt.node" in (tmp_path / "there" / "command.sh").read_text()
    assert not (tmp_path / "o" / "dry" / "manifest.json").exists()
    assert "neither a run's folder nor the id" in cpt("jobs", "status", "nothing", code=2).stderr
    assert cpt("jobs", "list").stdout == "no jobs\n"


def test_auto_takes_what_the_machine_offers(cpt: Callable) -> None:
    overrides = tuple(word for word in ELSEWHERE if word != "launcher.name=pretend")
    assert cpt("train", *overrides, "run.name=auto").stdout.startswith("submitted  pretend ")
    cpt("jobs", "cancel", "o/auto")
    cpt("train", *QUICK, "run.output=o", "run.name=here")


def test_prepare_shares_the_work_out(cpt: Callable, tmp_path: Path) -> None:
    lines = (json.dumps({"text": f"{number} " + "word " * 2000}) + "\n" for number in range(14_000))
    (tmp_path / "large.jsonl").write_text("".join(lines))
    data = ("model.init=random", "data.train=large.jsonl", "tokenizer=bytes")
    here = json.loads(cpt("prepare", *data, f"data.store={tmp_path}/here", "--json").stdout)
    pretend = ("launcher.name=pretend", "cluster.nodes=2", "cluster.processes=1")
    result = cpt("prepare", *data, *pretend, f"data.store={tmp_path}/there", "--json")
    assert "shards in 2 tasks: pretend" in result.stderr
    there = json.loads(result.stdout)
    assert Path(there["store"], "tokens.bin").read_bytes() == Path(here["store"], "tokens.bin").read_bytes()
    assert not list((tmp_path / "there").glob("*.parts"))
