"""The SkyPilot task that a task becomes: whole, as SkyPilot's own loader reads it, and holding a stranger's words as words."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

import cpt
from cpt import plugins
from cpt.contracts import JobRef, JobState, JobStatus, Task
from cpt.errors import PluginError, ResourceError
from cpt.plugins import validate_options
from cpt_skypilot import SkypilotLauncher, SkypilotOptions
from cpt_skypilot.launcher import STATES
from cpt_skypilot.sky_task import job_name

GOLDEN = Path(__file__).parent / "golden"
PACKAGE = Path(__file__).parents[1]
EVERYTHING: dict[str, Any] = {
    "accelerator": "H100",
    "infra": "aws/us-east-1",
    "instance_type": "p5.48xlarge",
    "use_spot": True,
    "cpus": "192",
    "memory_gb": "1024+",
    "disk_gb": 500,
    "network_tier": "best",
    "image": "docker:registry.example/ml/cpt:0.1",
    "python": "/opt/venv/bin/python",
    "packages": ["cpt-train[testing]>=0.1,<0.2", "cpt-aim==0.1.*"],
    "env": {"NCCL_DEBUG": "INFO", "RATE": "1e3"},
    "secrets": ["TOKEN"],
    "labels": {"team": "a"},
    "restarts": 3,
}
HOSTILE = "' \" \\ !! !x $(: > ran) `: > ran` ${HOME}\n: > ran\n--- &x *y #"
ONE = Task("nova-tiny-5f2c91ab", ("/usr/bin/python3", "-m", "cpt.node", "s3://runs/a"), nodes=1, processes=1, folder=Path("/runs/a/job"))
FOUR = replace(ONE, nodes=4, processes=8, gpus_per_node=8, env={"OMP_NUM_THREADS": "11"})
VOLUME = {"volumes": {"/data": "team-data"}}


def launcher(**options: object) -> SkypilotLauncher:
    return SkypilotLauncher(validate_options(SkypilotOptions, {"image": "docker:registry.example/cpt:0.1"} | options, "launcher.options"))


def rendered(task: Task, **options: object) -> list[Any]:
    return [yaml.safe_load(text) for text in launcher(**options).render(task).values()]


@pytest.mark.parametrize(("name", "task", "options"), [("one", ONE, {}), ("four", FOUR, EVERYTHING)])
def test_it_is_what_it_was(name: str, task: Task, options: dict[str, Any]) -> None:
    assert launcher(**options).render(task) == {"task.yaml": (GOLDEN / f"{name}.yaml").read_text()}


def test_skypilots_own_loader_takes_it(real_sky: Callable[[dict[str, Any]], Any], tmp_path: Path) -> None:
    texts = [text for task, options in ((ONE, {}), (FOUR, EVERYTHING)) for text in launcher(**options).render(task).values()]
    hostile = replace(ONE, argv=(*ONE.argv, HOSTILE), env={"SAID": HOSTILE})
    texts += launcher().render(hostile).values()
    files = [tmp_path / f"{number}.yaml" for number in range(len(texts))]
    for file, text in zip(files, texts, strict=True):
        file.write_text(text)
    one, four, third = real_sky({"load": list(map(str, files))})
    assert (one["name"], one["nodes"], one["setup"]) == (job_name(ONE), 1, None)
    assert one["recovery"] == {"strategy": None, "max_restarts_on_errors": 0, "recover_on_exit_codes": [75]}
    assert (four["nodes"], four["infra"], four["envs"]["RATE"], four["envs"]["OMP_NUM_THREADS"]) == (4, "aws/us-east-1", "1e3", "11")
    wanted = {"accelerators": "{'H100': 8}", "use_spot": "True", "cpus": "192", "memory": "1024+", "disk_size": "500"}
    assert four["resources"].items() >= wanted.items()
    assert third["envs"] == {"SAID": HOSTILE}
    assert third["run"] == yaml.safe_load(texts[2])["run"]


def test_skypilots_loader_would_refuse_another(real_sky: Callable[[dict[str, Any]], Any], tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("name: a\nnum_node: 2\n")
    with pytest.raises(AssertionError, match="num_node"):
        real_sky({"load": [str(tmp_path / "a.yaml")]})


def test_skypilots_command_line_takes_what_is_typed(real_sky: Callable[[dict[str, Any]], Any], sky_jobs: Path) -> None:
    """The very command lines that the stand-in was given."""
    ref = submitted(replace(ONE, folder=sky_jobs / "job"), secrets=["TOKEN"])
    list(launcher().logs(ref))
    launcher().cancel(ref)
    argvs = [json.loads(line) for line in (sky_jobs / "argvs").read_text().splitlines()]
    by_verb = {argv[1]: found for argv, found in zip(argvs, real_sky({"parse": argvs}), strict=True)}
    assert by_verb["launch"].items() >= {"entrypoint": [f"{sky_jobs}/job/task.yaml"], "yes": True, "detach_run": True}.items()
    assert by_verb["launch"]["secret"] == [["TOKEN", "x"]]
    assert by_verb["queue"].items() >= {"all": True, "output_format": "json"}.items()
    assert by_verb["logs"].items() >= {"job_id": 1, "tail": 0}.items()
    assert "follow" not in by_verb["logs"]
    assert by_verb["cancel"].items() >= {"job_ids": [1], "yes": True}.items()


def test_every_state_of_skypilots_has_its_own(real_sky: Callable[[dict[str, Any]], Any]) -> None:
    answer = real_sky({"states": None})
    assert set(answer["states"]) == STATES.keys()
    assert {"job_id", "job_name", "status", "failure_reason", "details"} <= set(answer["keys"])


def submitted(task: Task, **options: object) -> JobRef:
    [job] = launcher(packages=[], python=sys.executable, **options).submit(task)
    return JobRef(job, task.name, str(task.folder))


def test_every_option_shows() -> None:
    """None is taken and forgotten."""
    plain = rendered(FOUR, accelerator="B200")
    for name in SkypilotOptions.model_fields.keys() - {"render_to", "secrets", "volumes"}:
        assert rendered(FOUR, **{"accelerator": "B200", name: EVERYTHING[name]}) != plain, name
    assert rendered(ONE, **VOLUME)[0]["volumes"] == VOLUME["volumes"]


def test_secrets_stand_in_no_file(sky_jobs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKEN", "hidden-value")
    submitted(replace(ONE, argv=("python", "-c", "pass"), folder=tmp_path / "job"), secrets=["TOKEN"])
    assert "--secret=TOKEN" in (sky_jobs / "argvs").read_text()
    assert [file for file in (*tmp_path.rglob("*.yaml"), sky_jobs / "argvs") if "hidden-value" in file.read_text()] == []


def test_gpus_without_a_kind_are_a_fault_wherever_it_is_rendered(sky_jobs: Path) -> None:
    for act in (launcher().render, launcher().check, launcher().submit):
        with pytest.raises(ResourceError, match=r"launcher\.options\.accelerator: null: the run needs 8 GPUs a node"):
            act(FOUR)


def test_every_fault_is_named_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("TOKEN", raising=False)
    task = replace(FOUR, argv=(*ONE.argv[:-1], "/data/runs/a", "/runs/b"), after=("7",), members=4, parallel=2)
    with pytest.raises(ResourceError) as error:
        launcher(secrets=["TOKEN"], image=None, **VOLUME).check(task)
    places = [fault.where for fault in error.value.faults]
    options = ["launcher.options.accelerator", "launcher.options.volumes", "launcher.options.secrets"]
    assert sorted(places) == sorted(["launcher", "launcher", "sweeper.parallel", "launcher.options.image", *options])


def test_a_named_gpu_that_the_run_would_not_use_is_a_fault(sky_jobs: Path) -> None:
    with pytest.raises(ResourceError, match=r"cluster\.gpus_per_node: 0: launcher\.options\.accelerator=H100 is named"):
        launcher(accelerator="H100", image="docker:cpt").check(ONE)


def test_nothing_is_fetched_from_an_index_unless_it_is_named(sky_jobs: Path) -> None:
    """Whoever owns a name there runs code on the machines, with the run's secrets."""
    assert "setup" not in rendered(ONE)[0]
    with pytest.raises(ResourceError, match=r"launcher\.options\.image: null: the rented machines have no cpt"):
        launcher(image=None).check(ONE)
    launcher(image="docker:registry.example/ml/cpt:0.1").check(ONE)
    launcher(image=None, packages=["cpt-train==0.1.*"]).check(ONE)


def test_members_that_the_machines_could_not_look_up_are_a_fault_with_its_cause(sky_jobs: Path) -> None:
    task = replace(ONE, argv=("python", "-m", "cpt.node", "--members", "/home/me/.cache/cpt/members.json"), members=2)
    with pytest.raises(ResourceError, match=r"/home/me/\.cache/cpt/members\.json: .*no volume.* run\.output .*object storage") as error:
        launcher(image="docker:cpt").check(task)
    assert len(error.value.faults) == 1
    launcher(image="docker:cpt", volumes={"/home/me": "home"}).check(task)
    launcher(image="docker:cpt").check(replace(task, argv=("python", "-m", "cpt.node", "--members", "s3://runs/s/jobs/1/members.json")))


def test_members_are_submitted_all_or_none(sky_jobs: Path, tmp_path: Path) -> None:
    (sky_jobs / "refuses").touch()
    waits = replace(ONE, argv=("python", "-c", "import time; time.sleep(60)"), members=3, folder=tmp_path / "job")
    with pytest.raises(ResourceError, match="ResourcesUnavailableError: no H100 anywhere"):
        launcher(packages=[], python=sys.executable).submit(waits)
    states = {launcher().status(JobRef(str(number), ONE.name, "")).state for number in (1, 2)}
    assert states == {JobState.CANCELLED}


def test_it_is_never_taken_unasked(sky_jobs: Path) -> None:
    assert not SkypilotLauncher.is_offered_here()


def test_the_same_run_again_is_another_job(sky_jobs: Path, tmp_path: Path) -> None:
    task = replace(ONE, argv=("python", "-c", "pass"), folder=tmp_path / "job")
    assert [submitted(task).id, submitted(task).id] == ["1", "2"]


@pytest.mark.parametrize(
    "word", [HOSTILE, "!!", "!x", "-n", "", " ", "\n", "'", '"', "\t\x01\x1b[31m", "é\u2028🎈", "*", "~", "a=b", "\\\n"]
)
def test_words_of_any_kind_pass_through_skypilots_bash(word: str, tmp_path: Path) -> None:
    """Interactive, as SkyPilot's is: it would expand `!`."""
    says = "import json, os, sys; print('=' + json.dumps([sys.argv[1:], os.environ['MASTER_ADDR'], os.environ['NODE_RANK']]))"
    [tree] = rendered(replace(ONE, argv=("python", "-c", says, word)), python=sys.executable)
    (tmp_path / "script").write_text(tree["run"])
    env = {"SKYPILOT_NODE_IPS": "10.0.0.1\n10.0.0.2", "SKYPILOT_NODE_RANK": "1", "HOME": str(tmp_path), "PATH": "/usr/bin:/bin"}
    done = subprocess.run(["bash", "-i", "script"], cwd=tmp_path, env=env, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    [line] = [line for line in done.stdout.splitlines() if line.startswith("=")]
    assert json.loads(line[1:]) == [[word], "10.0.0.1", "1"]
    assert not (tmp_path / "ran").exists()


HOSTILE_OPTIONS = [
    ("accelerator", "H100:8"),
    ("accelerator", "$(id)"),
    ("infra", "aws; id"),
    ("image", "docker:x\nsetup: id"),
    ("python", "python -c evil"),
    ("python", "$(id)"),
    ("packages", ["git+https://example.org/x"]),
    ("packages", ["--index-url=https://example.org"]),
    ("packages", ["a; id"]),
    ("volumes", {"relative": "a"}),
    ("volumes", {"/a${B}": "a"}),
    ("env", {"A B": "x"}),
    ("secrets", ["TOKEN=x"]),
    ("labels", {"a": "b c"}),
    ("disk_gb", 0),
    ("use_spot", "yes"),
    ("setup", "id"),
]


@pytest.mark.parametrize(("name", "value"), HOSTILE_OPTIONS)
def test_an_option_that_is_no_such_thing_is_refused(name: str, value: object) -> None:
    with pytest.raises(PluginError) as error:
        launcher(**{name: value})
    assert error.value.faults[0].where.startswith(f"launcher.options.{name}")


@pytest.mark.parametrize("name", ["a", "9b-model", "-a-", "llama3-2-1b-0123abcd"])
def test_names_are_such_as_skypilot_takes(name: str) -> None:
    assert re.fullmatch(r"[a-zA-Z]([-_.a-zA-Z0-9]*[a-zA-Z0-9])?", job_name(replace(ONE, name=name)))


def test_runs_of_one_name_are_told_apart() -> None:
    assert job_name(ONE) != job_name(replace(ONE, folder=Path("/others/a/job")))


def test_what_skypilot_says_is_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    record = {"job_id": 7, "job_name": "a", "status": "FAILED_NO_RESOURCE", "failure_reason": "no H100\n  anywhere", "details": None}
    monkeypatch.setattr("cpt_skypilot.sky.jobs", lambda: [record])
    assert launcher().status(JobRef("7", "a", "")) == JobStatus(JobState.FAILED, "no H100 anywhere")
    assert launcher().status(JobRef("8", "a", "")).state is JobState.UNKNOWN


def test_it_is_found_by_its_name_and_its_option_composes() -> None:
    recipe = cpt.compose(["model=nova_tiny", "launcher=skypilot", "launcher.options.accelerator=H100"])
    assert recipe.launcher.name == "skypilot"
    assert plugins.load("launchers", "skypilot", {}, "launcher.name")[0] is SkypilotLauncher


def test_the_readme_names_every_option() -> None:
    readme = (PACKAGE / "README.md").read_text()
    assert [name for name in SkypilotOptions.model_fields if not re.search(rf"^\|.*`{name}`.*\|.*\|", readme, re.MULTILINE)] == []
