"""Jobs on a real Slurm of two nodes; small programs stand for cpt's agents."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from cpt.contracts import JobRef, JobState, Task
from cpt.errors import ResourceError
from cpt.plugins import validate_options
from cpt_slurm import SlurmLauncher, programs

STOPS_ONCE = """
import os, signal, sys, time
def stop(number, frame):
    print("stopped by", number, flush=True)
    time.sleep(1)
    open("committed", "w").close()
    os._exit(75)
signal.signal(signal.SIGTERM, stop); signal.signal(signal.SIGUSR1, stop)
print("goes on" if os.path.exists("committed") else "begins", flush=True)
if not os.path.exists("committed"):
    time.sleep(300)
"""
"""Runs until it is told to stop, commits for a second and asks to be started again; then it is done."""

Submit = Callable[..., list[JobRef]]


ANY = SlurmLauncher(SlurmLauncher.Options())


def submit_to(folder: Path, program: str, *words: str, task: dict[str, Any] | None = None, **options: object) -> list[JobRef]:
    """Checks and submits a Python program as a task."""
    argv = (sys.executable, "-c", program, *words)
    made = Task(**{"name": "job", "argv": argv, "nodes": 1, "processes": 1, "folder": folder / "job", **(task or {})})
    launcher = SlurmLauncher(validate_options(SlurmLauncher.Options, options, "launcher.options"))
    launcher.check(made)
    return [JobRef(id, made.name, str(made.folder)) for id in launcher.submit(made)]


@pytest.fixture
def submit(cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Submit:
    """`submit_to` the test's folder, which is the job's working folder too."""
    monkeypatch.chdir(tmp_path)
    return partial(submit_to, tmp_path)


@pytest.fixture(scope="module", autouse=True)
def limited(cluster: Any, tmp_path_factory: pytest.TempPathFactory) -> JobRef:
    """A job that meets its time limit while the other tests run: Slurm looks at the time twice a minute."""
    folder = tmp_path_factory.mktemp("limited")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        return submit_to(folder, STOPS_ONCE, time_limit=1, signal_s=58, extra=["--nodelist=n2"])[0]


def said(job: JobRef) -> list[str]:
    """What the job's agents wrote."""
    return [line for name, line in ANY.logs(job) if name.startswith("node") and not line.startswith("slurmstepd")]


def fail_node(name: str) -> None:
    """Takes a node from its jobs, and gives it back."""
    programs.ask(["scontrol", "update", f"NodeName={name}", "State=down", "Reason=test"])
    with contextlib.suppress(ResourceError):  # refused where the node has come back by itself
        programs.ask(["scontrol", "update", f"NodeName={name}", "State=resume"])


def state(job: JobRef) -> JobState:
    return ANY.status(job).state


def test_a_job_is_queued_runs_and_completes(cluster: Any, submit: Submit) -> None:
    [job] = submit("import time; print('hello'); time.sleep(1)", extra=["--begin=now+2"])
    seen = [state(job)]
    while not seen[-1].ended:
        seen += [now for now in [state(job)] if now != seen[-1]]
    assert seen == [JobState.QUEUED, JobState.RUNNING, JobState.COMPLETED]
    assert said(job) == ["hello"]
    assert ANY.status(job).exit_code == 0


def test_a_stranger_runs_nothing_through_names_options_or_folders(cluster: Any, submit: Submit, tmp_path: Path) -> None:
    hostile = "$(touch pwned)`touch pwned`'\"; touch pwned; \n#SBATCH --wrap=touch"
    folder = tmp_path / "50%j $(touch pwned) 'it\"s'" / "job"
    [job] = submit(
        "import os, sys; print(sys.argv[1:] == [os.environ['SAID']])",
        hostile,
        task={"name": "x'; touch pwned; $(touch pwned)", "folder": folder, "env": {"SAID": hostile}},
        extra=["--comment=$(touch pwned); touch pwned"],
    )
    cluster.wait_until(lambda: state(job).ended)
    assert said(job) == ["True"]
    assert not list(tmp_path.rglob("pwned"))


def test_a_preempted_job_commits_and_is_requeued(cluster: Any, submit: Submit, tmp_path: Path) -> None:
    [job] = submit(STOPS_ONCE, exclusive=True, extra=["--nodelist=n1"])
    cluster.wait_until(lambda: said(job) == ["begins"])
    [urgent] = submit("pass", task={"folder": tmp_path / "urgent"}, partition="urgent", exclusive=True, extra=["--nodelist=n1"])
    cluster.wait_until(lambda: state(urgent).ended and state(job).ended)
    assert (state(urgent), state(job)) == (JobState.COMPLETED, JobState.COMPLETED)
    assert said(job) == ["begins", "stopped by 15", "goes on"]


def test_a_job_whose_node_failed_is_requeued(cluster: Any, submit: Submit) -> None:
    program = "import os, time; again = os.path.exists('began'); open('began', 'w'); print(again, flush=True); again or time.sleep(300)"
    [job] = submit(program, extra=["--nodelist=n1"])
    cluster.wait_until(lambda: said(job) == ["False"])
    fail_node("n1")
    cluster.wait_until(lambda: state(job).ended)
    assert (state(job), said(job)) == (JobState.COMPLETED, ["False", "True"])


def test_without_requeue_a_stopped_job_is_preempted(cluster: Any, submit: Submit) -> None:
    [job] = submit("raise SystemExit(75)", requeue=False)
    cluster.wait_until(lambda: state(job).ended)
    assert (state(job), ANY.status(job).exit_code) == (JobState.PREEMPTED, 75)


def test_a_job_that_is_stuck_is_not_requeued(cluster: Any, submit: Submit) -> None:
    [job] = submit("raise SystemExit(93)")
    cluster.wait_until(lambda: state(job).ended)
    assert (state(job), ANY.status(job).exit_code) == (JobState.FAILED, 93)


def test_a_chain_goes_on_until_it_is_done(cluster: Any, submit: Submit) -> None:
    program = "import pathlib; file = pathlib.Path('twice'); raise SystemExit(0 if file.exists() else file.touch() or 75)"
    [job] = submit(program, chain=3)
    ids = job.id.split(",")
    assert len(ids) == 3
    cluster.wait_until(lambda: state(job).ended)
    assert state(job) is JobState.COMPLETED
    cluster.wait_until(lambda: programs.in_queue(ids)[ids[2]].state is JobState.CANCELLED)  # nothing is left to do


def test_nodes_of_a_step_that_may_be_started_again_find_each_other(
    cluster: Any, submit: Submit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """HyperPod's srun takes --auto-resume; Slurm's own is called without, and the batch script is told of nodes that are gone."""
    site = tmp_path / "site.sh"
    site.write_text(
        "nodes=$SLURM_JOB_NODELIST; export SLURM_JOB_NODELIST=n9\n"
        'srun() { SLURM_JOB_NODELIST=$nodes command srun "${@/--auto-resume=1/--quiet}"; }\n'
    )
    monkeypatch.setenv("CPT_SLURM_SITE", str(site))
    says = "import os; print(*(os.environ[name] for name in ('NODE_RANK', 'MASTER_ADDR', 'SLURM_STEP_NODELIST')))"
    [job] = submit(says, task={"nodes": 2}, auto_resume=True)
    cluster.wait_until(lambda: state(job).ended)
    assert sorted(said(job)) == [f"{rank} 127.0.0.1 n[1-2]" for rank in range(2)]


def test_a_chain_stops_where_the_run_is_refused(cluster: Any, submit: Submit, tmp_path: Path) -> None:
    [job] = submit("print('tried'); raise SystemExit(2)", chain=2)
    second = job.id.split(",")[1]
    cluster.wait_until(lambda: programs.in_queue([second])[second].state.ended)
    assert (state(job), ANY.status(job).exit_code, said(job)) == (JobState.FAILED, 2, ["tried"])


def test_members_of_an_array_run_no_more_at_once_than_asked(cluster: Any, submit: Submit) -> None:
    jobs = submit(
        "import os, time; print(os.environ['CPT_MEMBER'], time.time()); time.sleep(0.5); print(time.time())",
        task={"members": 3, "parallel": 1},
    )
    assert [job.id.partition("_")[2] for job in jobs] == ["0", "1", "2"]
    cluster.wait_until(lambda: all(state(job).ended for job in jobs))
    spans = sorted([float(began.split()[1]), float(ended)] for began, ended in (said(job) for job in jobs))
    assert all(ended <= began for (_, ended), (began, _) in pairwise(spans))
    assert [said(job)[0].split()[0] for job in jobs] == ["0", "1", "2"]


def test_all_jobs_are_asked_about_in_one_question(cluster: Any, submit: Submit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    members = submit("import os; raise SystemExit(int(os.environ['CPT_MEMBER']))", task={"members": 3})
    jobs = [*members, *submit("pass", task={"folder": tmp_path / "chain"}, extra=["--begin=now+300"], chain=2)]
    cluster.wait_until(lambda: all(state(job).ended for job in members))
    asked: list[str] = []
    original = programs.ask
    monkeypatch.setattr(programs, "ask", lambda argv, **more: (asked.append(argv[0]), original(argv, **more))[1])
    states = [status.state for status in ANY.statuses([*jobs, JobRef("999999", "job", str(tmp_path))])]
    assert states == [JobState.COMPLETED, JobState.FAILED, JobState.FAILED, JobState.QUEUED, JobState.UNKNOWN]
    assert asked.count("squeue") == 1
    ANY.cancel(jobs[-1])


def test_a_controller_that_does_not_answer_is_an_error_that_may_pass(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "squeue").write_text("#!/bin/sh\necho 'slurm_load_jobs error: Unable to contact slurm controller' >&2\nexit 1\n")
    (tmp_path / "squeue").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with pytest.raises(ResourceError, match=r"Unable to contact slurm controller.*sinfo"):
        ANY.statuses([JobRef("1", "job", str(tmp_path)), JobRef("2", "job", str(tmp_path))])


def test_a_job_waits_for_another_to_end_well(cluster: Any, submit: Submit, tmp_path: Path) -> None:
    [first] = submit("import time; time.sleep(1); open('first', 'w')")
    [second] = submit("import os; print(os.path.exists('first'))", task={"folder": tmp_path / "second", "after": (first.id,)})
    cluster.wait_until(lambda: state(second).ended)
    assert said(second) == ["True"]


def test_cancelling_lets_a_job_commit_and_keeps_it_from_the_queue(cluster: Any, submit: Submit, tmp_path: Path) -> None:
    [job] = submit(STOPS_ONCE, chain=2)
    cluster.wait_until(lambda: said(job) == ["begins"])
    ANY.cancel(job)
    cluster.wait_until(lambda: all(found.state.ended for found in programs.in_queue(job.id.split(",")).values()))
    assert state(job) is JobState.CANCELLED
    assert (tmp_path / "committed").exists()
    assert said(job) == ["begins", "stopped by 15"]


def test_what_does_not_end_is_killed_when_cancelled_again(cluster: Any, submit: Submit) -> None:
    [job] = submit("import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(300)")
    cluster.wait_until(lambda: said(job) == ["deaf"])
    ANY.cancel(job)
    assert state(job) is JobState.RUNNING
    ANY.cancel(job)
    cluster.wait_until(lambda: state(job).ended)
    assert state(job) is JobState.CANCELLED


def test_a_waiting_job_is_taken_from_the_queue(cluster: Any, submit: Submit) -> None:
    jobs = submit("pass", task={"members": 2}, extra=["--begin=now+300"])
    ANY.cancel(jobs[0])
    assert [state(job) for job in jobs] == [JobState.CANCELLED, JobState.QUEUED]
    ANY.cancel(jobs[1])


def test_a_running_member_is_cancelled_while_others_wait(cluster: Any, submit: Submit) -> None:
    jobs = submit(STOPS_ONCE, task={"members": 3, "parallel": 1})
    cluster.wait_until(lambda: said(jobs[0]) == ["begins"])
    ANY.cancel(jobs[0])
    cluster.wait_until(lambda: state(jobs[0]).ended)
    assert (state(jobs[0]), said(jobs[0])) == (JobState.CANCELLED, ["begins", "stopped by 15"])
    for job in jobs[1:]:
        ANY.cancel(job)


def test_members_that_were_cancelled_before_they_ran_are_known_by_their_array(cluster: Any, submit: Submit, tmp_path: Path) -> None:
    jobs = submit("pass", task={"members": 4}, extra=["--begin=now+300"])
    programs.ask(["scancel", jobs[0].id.partition("_")[0]])
    assert [state(job) for job in jobs] == [JobState.CANCELLED] * 4
    (tmp_path / "job" / f"exit-{jobs[1].id}").write_text("0")
    assert state(jobs[1]) is JobState.COMPLETED


def test_scancel_by_hand_is_no_reason_to_requeue(cluster: Any, submit: Submit, tmp_path: Path) -> None:
    [job] = submit(STOPS_ONCE)
    cluster.wait_until(lambda: said(job) == ["begins"])
    programs.ask(["scancel", job.id])
    cluster.wait_until(lambda: state(job).ended)
    assert (tmp_path / "committed").exists()
    assert state(job) is JobState.CANCELLED


def test_the_job_has_its_gpus_and_cpus(cluster: Any, submit: Submit, tmp_path: Path) -> None:
    program = "import os; print(os.environ['CUDA_VISIBLE_DEVICES'], os.environ['SLURM_CPUS_ON_NODE'])"
    for request in ("gpus-per-node", "gres"):
        task = {"gpus_per_node": 2, "processes": 2, "folder": tmp_path / request}
        [job] = submit(program, task=task, gpu_request=request, cpus=2)
        cluster.wait_until(lambda job=job: state(job).ended)
        assert said(job) == ["0,1 4"]


def test_a_job_submitted_from_within_a_job_is_its_own(cluster: Any, submit: Submit, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"SLURM_JOB_ID": "1", "SLURM_ARRAY_TASK_ID": "7", "SLURM_MEM_PER_CPU": "1", "SLURM_MEM_PER_NODE": "1"}.items():
        monkeypatch.setenv(name, value)
    [job] = submit("print('well')")
    cluster.wait_until(lambda: state(job).ended)
    assert said(job) == ["well"]


def test_the_scripts_can_be_submitted_by_hand(cluster: Any, submit: Submit, tmp_path: Path) -> None:
    [job] = submit("print('well')")
    by_hand = subprocess.run(["bash", "submit.sh"], cwd=tmp_path / "job", capture_output=True, text=True, timeout=30)
    assert by_hand.returncode == 0, by_hand.stderr
    again = JobRef(by_hand.stdout.strip(), job.name, job.folder)
    cluster.wait_until(lambda: state(again).ended)
    assert said(again) == ["well"]


def test_a_job_that_slurm_has_forgotten_is_known_by_its_files(cluster: Any, tmp_path: Path) -> None:
    job = JobRef("999999", "job", str(tmp_path))
    known = {}
    for code in ("0", "3", "75"):
        (tmp_path / "exit-999999").write_text(f"{code}\n")
        known[code] = state(job)
    assert known == {"0": JobState.COMPLETED, "3": JobState.FAILED, "75": JobState.PREEMPTED}
    (tmp_path / "cancel-999999").touch()
    assert state(job) is JobState.CANCELLED


@pytest.mark.parametrize(
    ("task", "options", "words"),
    [
        ({}, {"partition": "mian"}, ["launcher.options.partition: mian", "Did you mean main?"]),
        ({"nodes": 3}, {}, ["cluster.nodes: 3: a job of partition main may have 2"]),
        (
            {"nodes": 2},
            {"partition": "urgent", "time_limit": "1:00:00", "container": {"image": "x.sqsh", "mounts": ["/elsewhere"]}},
            [
                "cluster.nodes: 2",
                "launcher.options.time_limit: 1:00:00: a job of partition urgent may take 30 minutes",
                "container.mounts: /elsewhere",
            ],
        ),
        ({}, {"constraint": "liquid_cooled"}, ["sbatch", "Invalid feature specification"]),
        ({"gpus_per_node": 9}, {}, ["sbatch", "Requested node configuration is not available"]),
        ({"after": ("1,2",)}, {}, ["after: 1,2: is no id of a single Slurm job"]),
    ],
)
def test_what_cannot_run_is_refused_with_every_reason(
    submit: Submit, task: dict[str, Any], options: dict[str, Any], words: list[str]
) -> None:
    with pytest.raises(ResourceError) as caught:
        submit("pass", task=task, **options)
    assert [word for word in words if word not in str(caught.value)] == []


def test_a_site_file_that_is_not_there_is_said(submit: Submit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CPT_SLURM_SITE", str(tmp_path / "nowhere.sh"))
    with pytest.raises(ResourceError, match=r"CPT_SLURM_SITE: .*nowhere\.sh: there is no such file"):
        submit("pass")


def test_a_chain_that_cannot_be_submitted_whole_leaves_nothing_queued(
    cluster: Any, submit: Submit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    programs_folder = tmp_path / "programs"
    programs_folder.mkdir()
    refuses = '#!/bin/sh\ncase "$*" in *afternotok*) echo \'sbatch: error: Too many jobs\' >&2; exit 1;; esac\nexec {real} "$@"\n'
    (programs_folder / "sbatch").write_text(refuses.format(real=programs.shutil.which("sbatch")))
    (programs_folder / "sbatch").chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs_folder}:{os.environ['PATH']}")
    with pytest.raises(ResourceError, match="Too many jobs"):
        submit("import time; time.sleep(300)", chain=2, task={"name": "unwanted"})
    cluster.wait_until(lambda: programs.ask(["squeue", "--noheader", "--name=unwanted"]) == "")


def test_the_time_limit_commits_and_requeues(cluster: Any, limited: JobRef) -> None:
    cluster.wait_until(lambda: state(limited).ended)
    assert state(limited) is JobState.COMPLETED
    assert said(limited) == ["begins", "stopped by 10", "goes on"]


LOSES_A_NODE = """
import os, pathlib, signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
if os.path.exists("began"):
    print("goes on", flush=True)
    raise SystemExit(0)
print("begins", flush=True)
if os.environ["NODE_RANK"] == "0":
    while not os.path.exists("lost"):
        time.sleep(0.1)
    pathlib.Path("began").touch()
    raise SystemExit(1)
time.sleep(300)
"""
"""Node 0 ends with 1 where the other is lost, without a commit: as cpt's agents, whose ranks wait for each other."""


def test_a_chain_goes_on_after_the_failure_of_a_node(cluster: Any, submit: Submit, tmp_path: Path) -> None:
    """The last: it takes the node from `limited`."""
    [job] = submit(LOSES_A_NODE, task={"nodes": 2}, chain=2)
    cluster.wait_until(lambda: said(job) == ["begins"] * 2)
    fail_node("n2")
    (tmp_path / "lost").touch()
    cluster.wait_until(lambda: state(job).ended)
    assert (state(job), said(job)) == (JobState.COMPLETED, ["begins"] * 2 + ["goes on"] * 2)
