"""What Slurm is given: the same text for the same task, and words that stay words. Needs bash, no Slurm."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cpt.contracts import Task
from cpt.errors import ResourceError
from cpt_slurm import script
from cpt_slurm.options import SlurmOptions
from cpt_slurm.site import site_file

GOLDEN = Path(__file__).parent / "golden"
TASK = Task(
    "my-run",
    ("/opt/cpt/bin/python", "-m", "cpt.node", "/shared/runs/my-run"),
    nodes=2,
    processes=8,
    gpus_per_node=8,
    folder=Path("/shared/runs/my-run/job"),
)
HOSTILE = (
    "$(touch pwned)",
    "`touch pwned`",
    "'; touch pwned; '",
    '"; touch pwned; "',
    "a\ntouch pwned\n#SBATCH --wrap=touch",
    "\\x\t\x01 é 🎈",
    "",
    "-n",
)
PROGRAM = """#!{python}
import json, os, sys
keys = ("SAID", "SITE", "MASTER_ADDR", "MASTER_PORT", "CPT_RANK_LOGS", "CPT_MEMBER")
with open("called.jsonl", "a") as file:
    print(json.dumps([os.path.basename(sys.argv[0]), sys.argv[1:], {{key: os.environ.get(key) for key in keys}}]), file=file)
print("NodeAddr=10.0.0.7 Port=6818" if "node" in sys.argv else "n7\\nn8")
sys.exit({code} if sys.argv[0].endswith("srun") else 0)
"""


def options(**given: object) -> SlurmOptions:
    return SlurmOptions.model_validate_json(json.dumps(given))


def run_script(text: str, folder: Path, code: int = 0, arguments: tuple[str, ...] = (), **env: str) -> list[Any]:
    """Runs a batch script where Slurm's programs only note how they were called; returns that."""
    programs = folder / "programs"
    programs.mkdir(exist_ok=True)
    for name in ("srun", "scontrol", "sbatch"):
        (programs / name).write_text(PROGRAM.format(python=sys.executable, code=code))
        (programs / name).chmod(0o755)
    (folder / "slurm.sh").write_text(text)
    (folder / "called.jsonl").write_text("")
    env = {"PATH": f"{programs}:{os.environ['PATH']}", "SLURM_JOB_ID": "5003", "SLURM_JOB_NODELIST": "n[7-8]", **env}
    subprocess.run(["bash", "slurm.sh", *arguments], cwd=folder, env=env, capture_output=True, timeout=60)
    assert not (folder / "pwned").exists()
    return [json.loads(line) for line in (folder / "called.jsonl").read_text().splitlines()]


def calls_of(program: str, calls: list[Any]) -> list[Any]:
    return [(argv, env) for name, argv, env in calls if name == program]


@pytest.mark.parametrize(
    ("name", "task", "given"),
    [
        ("job", TASK, {"partition": "gpu", "time_limit": 240, "account": "lab"}),
        ("array", replace(TASK, nodes=1, gpus_per_node=1, processes=1, members=6, parallel=2, env={"CPT_STORE": "/shared/a store"}), {}),
        ("chain", replace(TASK, after=("41",)), {"chain": 3, "after": [40], "cpus": 12, "gpu_request": "gres", "gpu_type": "h100"}),
        (
            "hyperpod",
            TASK,
            {
                "exclusive": True,
                "gpu_request": "none",
                "auto_resume": True,
                "container": {"image": "/shared/cpt.sqsh", "mounts": ["/shared", "/fsx:/data"]},
            },
        ),
    ],
)
def test_scripts_are_as_reviewed(name: str, task: Task, given: dict[str, object]) -> None:
    """`golden/` holds what people have read and found right; a change there is to be read again."""
    files = script.files(task, options(**given), Path("/home/me/.config/cpt/slurm.sh"))
    for file, text in files.items():
        assert text == (GOLDEN / f"{name}-{file}").read_text(), f"{name}-{file}"


def test_hostile_words_and_variables_arrive_as_they_are(tmp_path: Path) -> None:
    for number, words in enumerate(HOSTILE):
        task = replace(TASK, name=words or "x", argv=("python", words, "last"), env={"SAID": words}, folder=tmp_path / "job")
        [(argv, env)] = calls_of("srun", run_script(script.batch_script(task, options(), None), tmp_path))
        assert argv[-3:] == ["python", words, "last"], number
        assert env["SAID"] == words


def test_every_statement_is_one_line_whatever_it_quotes() -> None:
    task = replace(TASK, argv=("python", "a\n#SBATCH --wrap=x\nb"), env={"SAID": "c\nd"})
    assert len(script.batch_script(task, options(), None).splitlines()) == len(
        script.batch_script(replace(TASK, env={"SAID": "c"}), options(), None).splitlines()
    )
    assert "#SBATCH" not in "\n".join(line[:7] for line in script.batch_script(task, options(), None).splitlines())


def test_the_command_by_hand_is_the_launchers_own(tmp_path: Path) -> None:
    given = options(partition="$(touch pwned)", constraint="a'b\"c", extra=["--comment=`touch pwned`"], chain=2, after=[7])
    task = replace(TASK, folder=tmp_path / "job", name="x; touch pwned")
    (first, _), (second, _) = calls_of("sbatch", run_script(script.files(task, given, None)["submit.sh"], tmp_path))
    common = script.sbatch_argv(task, given)[1:]
    assert first == [*common, "--dependency=afterok:7", "--kill-on-invalid-dep=yes", "./slurm.sh"]
    answered = "n7\nn8"  # what this sbatch says of every job
    assert second == [*common, "--kill-on-invalid-dep=yes", f"--dependency=afternotok:{answered}", "./slurm.sh", answered]


def test_nodes_meet_at_the_first_of_the_allocation(tmp_path: Path) -> None:
    [(argv, env)] = calls_of("srun", run_script(script.batch_script(replace(TASK, folder=tmp_path / "job"), options(), None), tmp_path))
    assert (env["MASTER_ADDR"], env["MASTER_PORT"]) == ("10.0.0.7", "20006")
    assert env["CPT_RANK_LOGS"] == f"{tmp_path}/job/logs/5003"
    assert {"--nodes=2", "--ntasks-per-node=1"} <= set(argv)


@pytest.mark.parametrize(
    ("nodes", "first"),
    [
        ("n[7-8]", "n7"),
        ("ip-10-1-0-12,ip-10-1-9-[3-4]", "ip-10-1-0-12"),
        ("ip-10-1-[007-009,12]-x,m3", "ip-10-1-007-x"),
        ("rack[2-3]n[04-5]", "rack2n04"),
        ("alone", "alone"),
    ],
)
@pytest.mark.parametrize("in_container", [False, True])
def test_a_step_that_hyperpod_starts_again_meets_at_its_own_first_node(tmp_path: Path, nodes: str, first: str, in_container: bool) -> None:
    """The batch script's own variables may tell of nodes that are gone; a container has no scontrol."""
    text = script.batch_script(replace(TASK, folder=tmp_path / "job"), options(auto_resume=True), None)
    [(argv, env)] = calls_of("srun", run_script(text, tmp_path))
    programs = tmp_path / "in step"
    programs.mkdir()
    if not in_container:
        (programs / "scontrol").write_text('#!/bin/sh\n[ "$1 $2" = "show node" ] && echo "   NodeAddr=address-of-$3 NodeHostName=$3"\n')
        (programs / "scontrol").chmod(0o755)
    says = [*argv[argv.index("sh") :][:4], "sh", "-c", "echo $NODE_RANK $MASTER_ADDR $MASTER_PORT"]
    for name in ("sh", "sed"):
        (programs / name).symlink_to(shutil.which(name) or "")
    step = {
        **{name: value for name, value in env.items() if value},
        "PATH": str(programs),
        "SLURM_NODEID": "1",
        "SLURM_STEP_NODELIST": nodes,
    }
    done = subprocess.run(says, env=step, capture_output=True, text=True, timeout=60)
    assert done.stdout.split() == ["1", first if in_container else f"address-of-{first}", "20006"], done.stderr


def test_hyperpod_starts_again_only_what_has_its_nodes_for_itself() -> None:
    assert "--exclusive" in script.sbatch_argv(TASK, options(auto_resume=True))
    assert "--exclusive" not in script.sbatch_argv(TASK, options())


def test_members_are_numbered_from_the_array(tmp_path: Path) -> None:
    text = script.batch_script(replace(TASK, folder=tmp_path / "job", members=3), options(), None)
    [(_, env)] = calls_of("srun", run_script(text, tmp_path, SLURM_ARRAY_JOB_ID="5001", SLURM_ARRAY_TASK_ID="2"))
    assert env["CPT_MEMBER"] == "2"
    assert (tmp_path / "job" / "exit-5001_2").read_text() == "0\n"


def test_a_single_job_is_no_member_of_the_array_that_submitted_it(tmp_path: Path) -> None:
    text = script.batch_script(replace(TASK, folder=tmp_path / "job"), options(), None)
    run_script(text, tmp_path, SLURM_ARRAY_JOB_ID="5001", SLURM_ARRAY_TASK_ID="2")
    assert (tmp_path / "job" / "exit-5003").exists()


@pytest.mark.parametrize(
    ("code", "given", "cancelled", "requeued"),
    [(75, {}, False, True), (75, {"requeue": False}, False, False), (75, {"chain": 2}, False, False), (75, {}, True, False)]
    + [(code, {}, False, False) for code in (0, 1, 2, 93, 130, 137)],
)
def test_only_a_stopped_job_is_requeued(tmp_path: Path, code: int, given: dict[str, object], cancelled: bool, requeued: bool) -> None:
    (tmp_path / "job").mkdir()
    text = script.batch_script(replace(TASK, folder=tmp_path / "job"), options(**given), None)
    if cancelled:
        text = text.replace("code=$?\n", f"code=$?; touch {tmp_path}/job/cancel-5003\n")
    calls = run_script(text, tmp_path, code)
    assert (["requeue", "Incomplete", "5003"] in [argv for argv, _ in calls_of("scontrol", calls)]) is requeued
    assert (tmp_path / "job" / "exit-5003").read_text() == f"{code}\n"


def test_a_step_that_slurm_ended_is_not_taken_for_done(tmp_path: Path) -> None:
    """srun, seen in Slurm 22.05, ends with 0 where the job was killed and its processes were slow to go."""
    text = script.batch_script(replace(TASK, folder=tmp_path / "job"), options(), None)
    run_script(text.replace("srun --nodes", "kill -TERM $$\nsrun --nodes"), tmp_path)
    assert (tmp_path / "job" / "exit-5003").read_text() == "143\n"


def test_a_job_cancelled_while_it_waited_in_the_script_does_not_begin(tmp_path: Path) -> None:
    (tmp_path / "job").mkdir()
    (tmp_path / "job" / "cancel-5003").touch()
    assert calls_of("srun", run_script(script.batch_script(replace(TASK, folder=tmp_path / "job"), options(), None), tmp_path)) == []


@pytest.mark.parametrize(
    ("before", "begins", "ends"),
    [
        (None, True, 0),
        ("", True, 0),
        *((code, True, 0) for code in ("75", "143", "137", "1")),
        *((code, False, int(code)) for code in ("0", "93", "2")),
    ],
)
def test_a_chain_ends_where_the_run_is_done_refused_or_stuck(tmp_path: Path, before: str | None, begins: bool, ends: int) -> None:
    (tmp_path / "job").mkdir()
    if before is not None:
        (tmp_path / "job" / "exit-5002").write_text(f"{before}\n")
    text = script.batch_script(replace(TASK, folder=tmp_path / "job"), options(chain=2), None)
    assert bool(calls_of("srun", run_script(text, tmp_path, arguments=("5002",)))) is begins
    assert (tmp_path / "job" / "exit-5003").read_text() == f"{ends}\n"


def test_the_site_file_is_the_users_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert site_file() is None
    default = tmp_path / "configuration" / "cpt" / "slurm.sh"
    default.parent.mkdir(parents=True)
    default.write_text('export SITE="default $#"\n')
    assert site_file() == default
    named = tmp_path / "my $(touch pwned) site.sh"
    named.write_text("export SITE=named\n")
    monkeypatch.setenv("CPT_SLURM_SITE", str(named))
    assert site_file() == named
    for file, said in ((default, "default 0"), (named, "named")):
        text = script.batch_script(replace(TASK, folder=tmp_path / "job"), options(chain=2), file)
        [(_, env)] = calls_of("srun", run_script(text, tmp_path, arguments=("5002",)))
        assert env["SITE"] == said


@pytest.mark.parametrize(
    ("runtime", "program"),
    [
        ("pyxis", ""),
        ("apptainer", "apptainer exec --nv --bind=/a:/a --bind=/c:/d"),
        (
            "enroot",
            "enroot start --mount /a:/a --mount /c:/d --env NODE_RANK --env MASTER_ADDR --env MASTER_PORT --env SLURM_JOB_ID "
            "--env CPT_RANK_LOGS --env CPT_JOB_LAUNCHER --env CPT_JOB_ID --env CPT_JOB_FOLDER --env CUDA_VISIBLE_DEVICES --env SAID "
            "--env NCCL_SOCKET_IFNAME --",
        ),
    ],
)
def test_containers_are_started_by_their_runtime(tmp_path: Path, runtime: str, program: str) -> None:
    container = {"runtime": runtime, "image": "my image", "mounts": ["/a", "/c:/d"], "env": ["NCCL_SOCKET_IFNAME"]}
    task = replace(TASK, folder=tmp_path / "job", env={"SAID": "x"})
    [(argv, _)] = calls_of("srun", run_script(script.batch_script(task, options(container=container, python="python3.12"), None), tmp_path))
    assert argv[argv.index("sh") + 4 :] == [*program.split(), *(["my image"] if program else []), "python3.12", *TASK.argv[1:]]
    pyxis = [word for word in argv if word.startswith("--container")]
    wanted = ["--container-image=my image", "--container-mounts=/a:/a,/c:/d", "--container-env=NCCL_SOCKET_IFNAME"]
    assert pyxis == (wanted if runtime == "pyxis" else [])


@pytest.mark.parametrize(("given", "passed"), [({}, True), ({"gpu_request": "none"}, False)])
def test_a_container_sees_the_gpus_that_slurm_gave_and_all_where_it_gives_none(given: dict[str, object], passed: bool) -> None:
    """An empty CUDA_VISIBLE_DEVICES would hide every GPU."""
    text = script.batch_script(TASK, options(container={"runtime": "enroot", "image": "x"}, **given), None)
    assert ("--env CUDA_VISIBLE_DEVICES" in text) is passed


def test_a_percent_sign_in_a_folder_is_no_pattern_of_slurms() -> None:
    argv = script.sbatch_argv(replace(TASK, folder=Path("/runs/50%j/job")), options())
    assert "--output=/runs/50%%j/job/logs/%j.log" in argv


@pytest.mark.parametrize("folder", ["/runs/back\\slash", "/runs/new\nline"])
def test_a_folder_that_slurm_cannot_log_to_is_refused(folder: str) -> None:
    with pytest.raises(ResourceError, match=r"run\.output"):
        script.sbatch_argv(replace(TASK, folder=Path(folder)), options())


def test_a_variable_no_shell_takes_is_refused() -> None:
    with pytest.raises(ResourceError, match="environment variable"):
        script.batch_script(replace(TASK, env={"A=1; touch pwned; B": "x"}), options(), None)
