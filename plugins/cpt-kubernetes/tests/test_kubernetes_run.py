"""A run from the command line through kubectl to its end: two nodes that train together."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from kubernetes_cluster import Cluster

TRAIN = (
    "train",
    "model.init=random",
    "data.train=domain.jsonl",
    "train.max_length=64",
    "train.global_batch_size=8",
    "train.max_steps=3",
    "eval.max_tokens=4",
    "run.output=runs",
    "run.name=two",
    "cluster.nodes=2",
    "cluster.processes=1",
    "launcher=kubernetes",
    "launcher.options.image=registry.example/cpt:0.1",
    f"launcher.options.python={sys.executable}",
)


def run_cpt(folder: Path, *words: str) -> str:
    done = subprocess.run([sys.executable, "-m", "cpt", *words], cwd=folder, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def write_domain(folder: Path) -> None:
    texts = [f"Valve {number} opens at {number * 7 % 40} bar and closes at {number * 3 % 20} bar." for number in range(60)]
    (folder / "domain.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))


@pytest.mark.long
def test_two_pods_train_one_run_to_its_end(cluster: Cluster, tmp_path: Path) -> None:
    cluster.objects.add("persistentvolumeclaims/disk")
    write_domain(tmp_path)
    submitted = run_cpt(tmp_path, *TRAIN, f"launcher.options.volumes.disk={tmp_path}", f"launcher.options.env.HOME={tmp_path}")
    [job] = cluster.jobs
    assert submitted.startswith(f"submitted  kubernetes {job}")
    assert "completed" in run_cpt(tmp_path, "jobs", "wait", "runs/two")
    manifest = json.loads((tmp_path / "runs/two/manifest.json").read_text())
    assert (manifest["status"], manifest["steps"], manifest["job"]["id"]) == ("completed", 3, job)
    assert "step    3/3" in run_cpt(tmp_path, "jobs", "logs", "runs/two")


@pytest.mark.long
def test_the_files_of_a_dry_run_submit_the_run_by_hand(cluster: Cluster, tmp_path: Path) -> None:
    write_domain(tmp_path)
    words = (*TRAIN, f"launcher.options.volumes.disk={tmp_path}", f"launcher.options.env.HOME={tmp_path}")
    run_cpt(tmp_path, *words, "--dry-run", "launcher.options.render_to=written")
    shutil.copytree(tmp_path / "written" / "by-hand", tmp_path / "runs")
    subprocess.run(["kubectl", "create", "-f", "written/pytorchjob.yaml"], cwd=tmp_path, check=True, timeout=60)
    [job] = cluster.jobs
    while not (tmp_path / "runs/two/manifest.json").exists():  # none but the job says that it is there
        subprocess.run(["kubectl", "get", f"pytorchjobs/{job}"], check=True, timeout=60)  # the stand-in works when it is asked
        time.sleep(1)
    assert "completed" in run_cpt(tmp_path, "jobs", "wait", "runs/two")
    told = json.loads((tmp_path / "runs/two/manifest.json").read_text())["job"]
    assert (told["launcher"], told["id"]) == ("kubernetes", job)
