"""What a recipe may ask of Slurm, and how it reaches sbatch."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from cpt import plugins
from cpt.contracts import JobRef, Task
from cpt.errors import PluginError, ResourceError
from cpt_slurm import SlurmLauncher, script
from cpt_slurm.options import SlurmOptions, minutes

TASK = Task("my-run", ("python",), nodes=1, processes=4, gpus_per_node=2, folder=Path("/runs/job"))


def arguments(**given: object) -> list[str]:
    return script.sbatch_argv(TASK, SlurmOptions.model_validate_json(json.dumps(given)))


@pytest.mark.parametrize(
    ("given", "argument"),
    [
        ({"partition": "a,b"}, "--partition=a,b"),
        ({"account": 1234}, "--account=1234"),
        ({"qos": "high"}, "--qos=high"),
        ({"time_limit": 90}, "--time=90"),
        ({"time_limit": "1-00:00:00"}, "--time=1-00:00:00"),
        ({}, "--gpus-per-node=2"),
        ({"gpu_type": "h100"}, "--gpus-per-node=h100:2"),
        ({"gpu_request": "gres"}, "--gres=gpu:2"),
        ({"gpu_request": "gres", "gpu_type": "h100"}, "--gres=gpu:h100:2"),
        ({}, "--cpus-per-task=16"),
        ({"cpus": 6}, "--cpus-per-task=24"),
        ({"memory": 0}, "--mem=0"),
        ({"constraint": "[rack1|rack2]"}, "--constraint=[rack1|rack2]"),
        ({"reservation": "mine"}, "--reservation=mine"),
        ({"exclusive": True}, "--exclusive"),
        ({}, "--requeue"),
        ({"requeue": False}, "--no-requeue"),
        ({"chain": 2}, "--no-requeue"),
        ({}, "--signal=USR1@120"),
        ({"signal_s": 600}, "--signal=USR1@600"),
        ({"extra": ["--nodelist=n[1-2]", "--contiguous"]}, "--contiguous"),
    ],
)
def test_an_option_is_one_argument_of_sbatch(given: dict[str, object], argument: str) -> None:
    assert argument in arguments(**given)


@pytest.mark.parametrize(
    ("gpus", "given", "cpus"),
    [
        (2, {"gpu_request": "none"}, ["--cpus-per-task=16"]),
        (0, {}, ["--cpus-per-task=4"]),
        (2, {"exclusive": True}, []),
        (2, {"exclusive": True, "cpus": 2}, ["--cpus-per-task=8"]),
    ],
)
def test_a_process_with_a_gpu_has_cpus_to_feed_it(gpus: int, given: dict[str, object], cpus: list[str]) -> None:
    argv = script.sbatch_argv(replace(TASK, gpus_per_node=gpus), SlurmOptions.model_validate_json(json.dumps(given)))
    assert [word for word in argv if "cpus" in word] == cpus


@pytest.mark.parametrize(
    ("given", "absent"), [({"gpu_request": "none"}, "gpu"), ({"exclusive": True}, "cpus"), ({}, "partition"), ({}, "mem")]
)
def test_what_is_not_asked_for_is_not_said(given: dict[str, object], absent: str) -> None:
    assert not [argument for argument in arguments(**given) if absent in argument]


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("extra", ["--wrap=touch pwned"]),
        ("extra", ["--wra=touch pwned"]),
        ("extra", ["--export=ALL,BASH_ENV=/tmp/x.sh"]),
        ("extra", ["--chdir=/tmp/x"]),
        ("extra", ["--output=/home/me/.bashrc"]),
        ("extra", ["/tmp/x.sh"]),
        ("extra", ["-D/tmp/x"]),
        ("extra", ["--comment=a\nb"]),
        ("partition", "a\nb"),
        ("after", ["1 --wrap=x"]),
        ("time_limit", "soon"),
        ("python", "/tmp/python"),
        ("chain", 0),
        ("signal_s", 0),
        ("container", {"image": "--rw"}),
        ("container", {"image": "x", "mounts": ["relative"]}),
        ("container", {"image": "x", "mounts": ["/a,/etc:/b"]}),
        ("site", "/tmp/x.sh"),
    ],
)
def test_an_option_that_could_do_more_than_ask_is_refused(option: str, value: object) -> None:
    with pytest.raises(PluginError, match=rf"launcher\.options\.{option}"):
        plugins.load("launchers", "slurm", {option: value}, "launcher.name")


def test_all_wrong_options_are_named_at_once() -> None:
    with pytest.raises(PluginError) as caught:
        plugins.load("launchers", "slurm", {"time_limit": "soon", "extra": ["--wrap=x"], "partiton": "gpu"}, "launcher.name")
    text = str(caught.value)
    assert "must be minutes, hours:minutes:seconds or days-hours:minutes:seconds" in text
    assert "must be --name or --name=value" in text
    assert "Did you mean partition?" in text


@pytest.mark.parametrize(
    ("text", "expected"),
    [("90", 90), ("90:30", 90.5), ("1:30:00", 90), ("0:0:30", 0.5), ("2-0", 2880), ("1-1:30", 1530), ("1-00:00:30", 1440.5)],
)
def test_times_are_read_as_slurm_reads_them(text: str, expected: float) -> None:
    assert minutes(text) == expected


def test_the_launcher_is_found_by_its_name() -> None:
    launcher, options = plugins.load("launchers", "slurm", {}, "launcher.name")
    assert launcher is SlurmLauncher
    assert options == SlurmOptions()


def test_a_recipe_chooses_it_by_name(tmp_path: Path) -> None:
    words = [
        "launcher=slurm",
        "launcher.options.partition=gpu",
        "launcher.options.after=[12,13_4]",
        "launcher.options.container.image=x.sqsh",
    ]
    argv = [sys.executable, "-m", "cpt", "train", *words, "--cfg", "job"]
    composed = subprocess.run(argv, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert composed.returncode == 0, composed.stderr
    assert "name: slurm" in composed.stdout
    assert "partition: gpu" in composed.stdout


def test_a_machine_without_slurm_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert not SlurmLauncher.is_offered_here()
    task = Task("job", ("python",), nodes=1, processes=1, folder=tmp_path)
    with pytest.raises(ResourceError) as caught:
        SlurmLauncher(SlurmOptions()).check(task)
    assert [fault.where for fault in caught.value.faults] == ["sbatch", "squeue", "scontrol", "scancel"]
    with pytest.raises(ResourceError, match="is not on this machine's PATH"):
        SlurmLauncher(SlurmOptions()).status(JobRef("1", "job", str(tmp_path)))
