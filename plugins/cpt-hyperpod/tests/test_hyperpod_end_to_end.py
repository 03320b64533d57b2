"""From the command line: a dry run anywhere, a job submitted and followed to its checkpoint, and the next one started from that."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import boto3
import pytest
import yaml

from cpt.cli import main
from cpt.plugins import installed

ESCROW = "s3://customer-escrow-123456789012-hp-abc/first/step-100"
RECIPE = ("launcher=hyperpod", "launcher.options.cluster=nova", "model=nova_micro", "cluster=p5x2", "data.train=s3://data/train.jsonl")


def cpt(capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> str:
    """What it says on both streams."""
    capsys.readouterr()
    assert main([*words]) == code, capsys.readouterr()
    out, err = capsys.readouterr()
    return out + err


@pytest.fixture
def complete(kubernetes: Any) -> Callable[[str], str]:
    """Has a run's job end as Amazon's engine would end it; returns the job's id."""

    def end(run: str) -> str:
        [job] = [path.rpartition("/")[2] for path in kubernetes.objects if f"/pytorchjobs/{run}-" in path]
        client = boto3.client("s3")
        body = json.dumps({"checkpoint_s3_bucket": ESCROW}).encode()
        client.put_object(Bucket="output", Key=f"runs/{job}/manifest.json", Body=body)
        client.close()
        kubernetes.conditions(job, "Created", "Running", "Succeeded")
        return job

    return end


def test_it_is_found_by_its_name() -> None:
    assert [(plugin.distribution, plugin.value) for plugin in installed("launchers") if plugin.name == "hyperpod"] == [
        ("cpt-hyperpod", "cpt_hyperpod:HyperpodLauncher")
    ]


def test_a_dry_run_needs_no_network_no_credentials_and_no_kubectl(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    folder = tmp_path / "rendered"
    said = cpt(capsys, "train", "--dry-run", *RECIPE, "run.output=s3://output/runs", f"launcher.options.render_to={folder}")
    assert str(folder) in said
    assert sorted(path.name for path in folder.iterdir()) == ["override-parameters.json", "pytorchjob.yaml", "recipe.yaml"]
    [_, job] = yaml.safe_load_all((folder / "pytorchjob.yaml").read_text())
    assert "ACCOUNT_ID_FROM_STS" in json.dumps(job)
    swept = ("-m", "optim.lr=1e-5,2e-5", "run.output=s3://output/runs", f"launcher.options.render_to={tmp_path / 'sweep'}")
    cpt(capsys, "train", "--dry-run", *RECIPE, *swept)
    assert len(list((tmp_path / "sweep").glob("*/pytorchjob.yaml"))) == 2


def test_what_nova_cannot_do_is_said_all_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    said = cpt(capsys, "train", "--dry-run", *RECIPE, "run.output=here", "train.precision=fp32", code=2)
    assert {line.split(": ")[1] for line in said.splitlines() if line.startswith("error: ")} == {"run.output", "train.precision"}


@pytest.mark.usefixtures("sagemaker")
def test_a_job_is_followed_to_its_checkpoint_and_the_next_starts_from_it(
    capsys: pytest.CaptureFixture[str], kubernetes: Any, complete: Callable[[str], str]
) -> None:
    words = (*RECIPE, "run.output=s3://output/runs")
    said = cpt(capsys, "train", *words, "run.name=first")
    assert "cpt jobs wait" in said
    assert "submitted already" in cpt(capsys, "train", *words, "run.name=first")
    run = "s3://output/runs/first"
    assert "queued" in cpt(capsys, "jobs", "status", run)
    assert "another identity" in cpt(capsys, "train", *words, "run.name=first", "optim.lr=2e-5", code=2)
    job = complete("first")
    assert "finished already" in cpt(capsys, "train", *words, "run.name=first")
    assert "completed" in cpt(capsys, "jobs", "wait", run)

    assert "finished already" in cpt(capsys, "train", *words, "run.name=first")

    client = boto3.client("s3")
    manifest = json.loads(client.get_object(Bucket="output", Key="runs/first/manifest.json")["Body"].read())
    client.close()
    assert (manifest["status"], manifest["checkpoint_s3_bucket"]) == ("completed", ESCROW)
    assert (manifest["job"]["launcher"], manifest["job"]["id"], manifest["amazon"]["job"]) == ("hyperpod", job, job)

    for number, init in enumerate((run, f"s3://output/runs/{job}/manifest.json")):
        cpt(capsys, "train", *words, f"run.name=next-{number}", f"model.init={init}")
        [config] = [tree for path, tree in kubernetes.objects.items() if f"/training-config-next-{number}-" in path]
        assert yaml.safe_load(config["data"]["config.yaml"])["run"]["model_name_or_path"] == ESCROW
    refused = cpt(capsys, "train", *words, "model=nova_lite", "cluster=p5x4", "run.name=other", f"model.init={run}", code=2)
    assert "starts from a checkpoint of its own" in refused
