"""The same from a real S3 endpoint and to it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import fsspec
from runs import QUICK, losses


def test_data_and_output_in_s3_give_the_local_run(cpt: Callable, tmp_path: Path, s3: str) -> None:
    filesystem = fsspec.filesystem("s3", skip_instance_cache=True)  # another test may have had another server
    bucket = s3.removeprefix("s3://")
    filesystem.put_file(str(tmp_path / "domain.jsonl"), f"{bucket}/in/domain.jsonl")
    words = ("train", *QUICK, "run.name=r", "checkpoint.every=3")
    cpt(*words, "run.output=o")
    done = cpt(*words, f"data.train={s3}/in/domain.jsonl", f"run.output={s3}/out")
    assert f"{s3}/out/r" in done.stdout

    manifest = json.loads(filesystem.cat_file(f"{bucket}/out/r/manifest.json"))
    assert (manifest["status"], manifest["checkpoint_s3_bucket"]) == ("completed", f"{s3}/out/r/final")
    rows = [json.loads(line) for line in filesystem.cat_file(f"{bucket}/out/r/metrics.jsonl").splitlines()]
    assert [row["train/loss"] for row in rows if "train/loss" in row] == losses(tmp_path / "o" / "r")
    names = {Path(path).name for path in filesystem.find(f"{bucket}/out/r/final")}
    assert {"config.json", "generation_config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"} <= names
    assert filesystem.glob(f"{bucket}/out/r/tensorboard/*tfevents*")

    again = cpt(*words, f"data.train={s3}/in/domain.jsonl", f"run.output={s3}/out")
    assert "finished already" in again.stderr
    found = json.loads(cpt("eval", f"{s3}/out/r", "--on", "mine=domain.jsonl", "--json").stdout)["mine"]
    local = json.loads(cpt("eval", "o/r", "--on", f"mine={s3}/in/domain.jsonl", "--json").stdout)["mine"]
    assert found == local

    cpt(*words, f"model.init={s3}/out/r", "run.name=next", "train.max_steps=2", "run.output=o")
    following = json.loads((tmp_path / "o/next/manifest.json").read_text())
    assert following["parent"] == f"{s3}/out/r"
    assert following["summary"]["held_out"]["before"] == manifest["summary"]["held_out"]["after"]
