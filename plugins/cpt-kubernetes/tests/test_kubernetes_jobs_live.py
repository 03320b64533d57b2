"""Jobs submitted with the real kubectl, followed and ended, on an API server of these tests."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from kubernetes_cluster import Cluster

from cpt.contracts import JobRef, JobState, JobStatus, Task
from cpt.errors import ResourceError
from cpt.kubectl import Kubectl
from cpt_kubernetes import KubernetesLauncher, KubernetesOptions
from cpt_kubernetes.status import job_status

pytestmark = pytest.mark.usefixtures("cluster")

HOSTILE = "' \" \\ $(RANK) $$(HOME) ${HOME} `id`\n---\nkind: Pod # " + "long " * 60
SAYS = "import sys; print(*sys.argv[1:])"
COMMITS = """
import signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: (time.sleep(4), print("committed", flush=True), sys.exit(75)))
print("ready", flush=True)
time.sleep(60)
"""


def launcher(**given: object) -> KubernetesLauncher:
    defaults = {"image": "registry.example/cpt:0.1", "python": sys.executable, "grace_s": 20}
    return KubernetesLauncher(KubernetesOptions.model_validate_json(json.dumps({**defaults, **given})))


@pytest.fixture
def task(tmp_path: Path) -> Task:
    return Task("nova-tiny-5f2c91ab", (sys.executable, "-c", SAYS), nodes=1, processes=1, folder=tmp_path / "job")


def submitted(task: Task, **given: object) -> list[JobRef]:
    return [JobRef(name, task.name, str(task.folder)) for name in launcher(**given).submit(task)]


def soon(is_so: Callable[[], object], patience_s: float = 30) -> None:
    deadline = time.monotonic() + patience_s
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def awaited(job: JobRef, state: JobState) -> JobStatus:
    soon(lambda: launcher().status(job).state in (state, JobState.FAILED))
    status = launcher().status(job)
    assert status.state is state
    return status


def faults(task: Task, **given: object) -> list[str]:
    with pytest.raises(ResourceError) as error:
        launcher(**given).check(task)
    return [str(fault) for fault in error.value.faults]


def test_the_cluster_gets_what_was_rendered_and_it_stays_in_the_tasks_folder(cluster: Cluster, task: Task) -> None:
    task = replace(task, argv=(*task.argv, HOSTILE), env={"SAID": HOSTILE})
    [job] = submitted(task, env={"TOO": HOSTILE}, annotations={"note": HOSTILE})
    assert dict(launcher(env={"TOO": HOSTILE}, annotations={"note": HOSTILE}).render(task)) == {
        "pytorchjob.yaml": (task.folder / "pytorchjob.yaml").read_text()
    }
    [posted] = cluster.posted
    assert posted["metadata"]["annotations"] == {"note": HOSTILE}
    assert posted["metadata"]["name"] == job.id
    awaited(job, JobState.COMPLETED)
    assert "\n".join(line for _, line in launcher().logs(job)) == HOSTILE.rstrip("\n")


def test_each_node_has_its_lines_in_order(task: Task) -> None:
    says = "import os; [print(os.environ['NODE_RANK'], n, flush=True) for n in range(20)]; import time; time.sleep(60)"
    [job] = submitted(replace(task, argv=(sys.executable, "-c", says), nodes=3))
    soon(lambda: len(list(launcher().logs(job))) == 60)
    assert list(launcher().logs(job)) == [(f"node {rank}", f"{rank} {n}") for rank in range(3) for n in range(20)]
    assert launcher().status(job) == JobStatus(JobState.RUNNING, "on here")


def test_the_same_run_again_is_another_job(task: Task) -> None:
    [first], [second] = submitted(task), submitted(task)
    assert first.id != second.id
    assert {awaited(job, JobState.COMPLETED).exit_code for job in (first, second)} == {0}


def test_a_queued_job_waits_until_it_is_admitted(cluster: Cluster, task: Task) -> None:
    cluster.objects.add("localqueues/team-a")
    launcher(queue="team-a").check(task)
    [job] = submitted(task, queue="team-a")
    assert launcher().status(job) == JobStatus(JobState.QUEUED, "waits for the queue team-a")
    assert list(launcher().logs(job)) == []
    cluster.jobs[job.id].tree["spec"]["runPolicy"]["suspend"] = False
    awaited(job, JobState.COMPLETED)


def test_a_cancelled_job_commits_before_it_is_gone(cluster: Cluster, task: Task) -> None:
    [job] = submitted(replace(task, argv=(sys.executable, "-c", COMMITS)))
    soon(lambda: ("node 0", "ready") in list(launcher().logs(job)))
    launcher().cancel(job)
    assert launcher().status(job) == JobStatus(JobState.RUNNING, "asked to end: its pods commit")
    soon(lambda: launcher().status(job).state.ended)
    assert launcher().status(job).state is JobState.CANCELLED
    assert (cluster.folder / f"{job.id}-master-0").read_text() == "ready\ncommitted\n"
    launcher().cancel(job)


def test_cancelling_leaves_an_ended_job_and_its_logs(task: Task) -> None:
    [job] = submitted(replace(task, argv=(sys.executable, "-c", "print('well')")))
    awaited(job, JobState.COMPLETED)
    launcher().cancel(job)
    assert (launcher().status(job).state, list(launcher().logs(job))) == (JobState.COMPLETED, [("node 0", "well")])


def test_a_job_that_somebody_deleted_is_unknown(cluster: Cluster, task: Task) -> None:
    [job] = submitted(task)
    cluster.jobs[job.id].delete()
    soon(lambda: launcher().status(job).state is JobState.UNKNOWN)


def test_all_jobs_are_asked_for_at_once(cluster: Cluster, task: Task, monkeypatch: pytest.MonkeyPatch) -> None:
    cluster.objects.add("localqueues/team-a")
    [done], [waits] = submitted(task), submitted(task, queue="team-a")
    awaited(done, JobState.COMPLETED)
    fails = submitted(replace(task, argv=(sys.executable, "-c", "raise SystemExit(3)"), members=2), restart="Never")
    soon(lambda: all(launcher().status(job).state.ended for job in fails))
    jobs = [waits, JobRef("gone", task.name, str(task.folder)), *fails, done]
    one_by_one, called = [launcher().status(job) for job in jobs], list[tuple[str, ...]]()
    run = Kubectl.run
    monkeypatch.setattr(Kubectl, "run", lambda self, *argv, **given: called.append(argv) or run(self, *argv, **given))
    assert launcher(labels={"app.kubernetes.io/managed-by": "me"}).statuses(jobs) == one_by_one
    assert [status.state for status in one_by_one] == [JobState.QUEUED, JobState.UNKNOWN, *[JobState.FAILED] * 2, JobState.COMPLETED]
    assert [status.exit_code for status in one_by_one] == [None, None, 3, 3, 0]
    assert len(called) == 1
    assert launcher().statuses([]) == []


def test_a_pod_that_fails_starts_again_and_goes_on(task: Task, tmp_path: Path) -> None:
    """The same argv in the same job: what a requeue is here."""
    preempted_once = f"import os, sys; p = {str(tmp_path / 'seen')!r}; os.path.exists(p) or (open(p, 'w'), sys.exit(75)); print('went on')"
    [job] = submitted(replace(task, argv=(sys.executable, "-c", preempted_once)))
    assert awaited(job, JobState.COMPLETED).exit_code == 0
    assert list(launcher().logs(job)) == [("node 0", "went on")]


def test_a_stop_of_all_nodes_together_is_one_restart_of_the_job(task: Task, tmp_path: Path) -> None:
    """The operator counts each pod's."""
    stops_twice = f"""
import os, pathlib
seen = pathlib.Path({str(tmp_path)!r}, os.environ["NODE_RANK"])
stops = int(seen.read_text()) if seen.exists() else 0
seen.write_text(str(stops + 1))
raise SystemExit(75 if stops < 2 else 0)
"""
    [job] = submitted(replace(task, argv=(sys.executable, "-c", stops_twice), nodes=3), backoff_limit=2)
    soon(lambda: launcher().status(job).state.ended)
    assert launcher().status(job).state is JobState.COMPLETED
    [job] = submitted(replace(task, argv=(sys.executable, "-c", "raise SystemExit(75)"), nodes=3), backoff_limit=1)
    soon(lambda: launcher().status(job).state is JobState.FAILED)


@pytest.mark.parametrize(("code", "state"), [(75, JobState.PREEMPTED), (93, JobState.FAILED), (2, JobState.FAILED)])
def test_a_job_that_is_not_restarted_tells_how_its_argv_ended(task: Task, code: int, state: JobState) -> None:
    [job] = submitted(replace(task, argv=(sys.executable, "-c", f"raise SystemExit({code})")), restart="Never")
    soon(lambda: launcher().status(job).state.ended)
    status = launcher().status(job)
    assert (status.state, status.exit_code) == (state, code)
    assert job.id in status.reason


def test_what_a_restarted_pod_said_last_is_told(task: Task) -> None:
    says = "import time; print('error: data.train: x: is not there.', flush=True); time.sleep(0.5); raise SystemExit(2)"
    [job] = submitted(replace(task, argv=(sys.executable, "-c", says)), backoff_limit=99)
    soon(lambda: launcher().status(job).reason == "on here; started again after 2; error: data.train: x: is not there.")


def test_members_are_submitted_all_or_none(cluster: Cluster, task: Task) -> None:
    cluster.jobs_allowed = 2
    with pytest.raises(ResourceError, match="exceeded quota"):
        launcher().submit(replace(task, argv=(sys.executable, "-c", "import time; time.sleep(60)"), members=4))
    soon(lambda: cluster.answer("GET", "/version", b"") and not cluster.jobs)
    assert len(cluster.posted) == 2


def test_a_task_that_the_cluster_would_take_passes_and_nothing_is_created(cluster: Cluster, task: Task) -> None:
    cluster.objects |= {"localqueues/team-a", "persistentvolumeclaims/fsx", "secrets/hub-token", "priorityclasses/high"}
    given = {"queue": "team-a", "env_from_secrets": ["hub-token"], "priority_class": "high", "service_account": "default"}
    launcher(volumes={"fsx": "/fsx"}, **given).check(replace(task, argv=(*task.argv, "/fsx/runs/a"), members=8, parallel=2))
    assert not cluster.jobs


def test_every_fault_is_named_at_once_in_the_clusters_words(task: Task) -> None:
    found = faults(
        replace(task, argv=(*task.argv, "/runs/a"), after=("other",)),
        namespace="elsewhere",
        queue="team-b",
        volumes={"scratch": "/scratch"},
        env_from_secrets=["hub-token"],
    )
    assert len(found) == 6
    for part in (
        "a job cannot wait for others",
        "launcher.options.volumes: /runs/a: the pods need this path",
        'namespaces "elsewhere" not found',
        "launcher.options.queue: team-b:",
        "launcher.options.volumes: scratch:",
        "launcher.options.env_from_secrets: hub-token:",
    ):
        assert any(part in fault for fault in found), part


def test_members_that_the_pods_could_not_look_up_are_a_fault_with_its_cause(task: Task) -> None:
    argv = (sys.executable, "-m", "cpt.node", "--members", "/home/me/.cache/cpt/members.json")
    [fault] = faults(replace(task, argv=argv, members=2))
    assert "/home/me/.cache/cpt/members.json: " in fault
    assert "run.output" in fault
    launcher().check(replace(task, argv=(*argv[:-1], "s3://runs/s/jobs/1/members.json"), members=2, nodes=1))
    assert faults(replace(task, argv=argv, members=2, nodes=1), volumes={"fsx": "/home/me"}) == [
        'launcher.options.volumes: fsx: Error from server (NotFound): persistentvolumeclaims "fsx" not found.'
    ]


def test_missing_names_are_named(task: Task) -> None:
    found = faults(task, queue="team-b", pull_secrets=["login"])
    assert 'localqueues "team-b" not found' in found[0]
    assert 'secrets "login" not found' in found[1]


def test_a_cluster_without_the_operator_or_kueue_says_so(cluster: Cluster, task: Task) -> None:
    del cluster.groups["kubeflow.org/v1"], cluster.groups["kueue.x-k8s.io/v1beta1"]
    found = faults(task, queue="team-a")
    assert 'no matches for kind "PyTorchJob"' in found[0]
    assert "training operator" in found[0]
    assert "doesn't have a resource type" in found[1]


def test_what_may_not_be_read_is_trusted_and_what_may_not_be_created_is_a_fault(cluster: Cluster, task: Task) -> None:
    cluster.forbidden = {"secrets"}
    launcher(env_from_secrets=["hub-token"]).check(task)
    cluster.forbidden = {"pytorchjobs"}
    assert ["Forbidden" in fault for fault in faults(task)] == [True]


def test_members_that_wait_for_each_other_need_a_queue(task: Task) -> None:
    assert "launcher.options.queue=NAME" in faults(replace(task, members=4, parallel=2))[0]


def test_a_cluster_that_does_not_answer_is_one_fault(cluster: Cluster, task: Task, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECONFIG", str(cluster.folder / "none"))
    [fault] = faults(task, queue="team-a")
    assert "refused" in fault
    assert fault.endswith("Look with kubectl cluster-info; launcher.options.context names another cluster.")


def test_a_context_that_is_not_there_is_named(task: Task) -> None:
    [fault] = faults(task, context="production")
    assert 'context "production" does not exist' in fault
    assert fault.endswith("Give launcher.options.context one of kubectl config get-contexts.")


def test_without_kubectl_the_fault_says_so(task: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert faults(task) == ["kubectl: is not on PATH. Install it."]
    assert not KubernetesLauncher.is_offered_here()


def test_it_is_offered_where_kubectl_has_a_current_context(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert KubernetesLauncher.is_offered_here()
    for text in ("", "current-context: ''", "- a list", "{"):
        (tmp_path / "config").write_text(text)
        monkeypatch.setenv("KUBECONFIG", str(tmp_path / "config"))
        assert not KubernetesLauncher.is_offered_here(), text
    monkeypatch.delenv("KUBECONFIG")
    assert not KubernetesLauncher.is_offered_here()


def test_what_pods_wait_for_is_told() -> None:
    """Words that the tests' cluster never says, as a scheduler and a kubelet write them."""
    job = {"metadata": {"name": "a"}, "spec": {}, "status": {"conditions": [{"type": "Created", "status": "True"}]}}
    unscheduled = {"type": "PodScheduled", "status": "False", "message": "0/3 nodes are available:\n 3 Insufficient nvidia.com/gpu."}
    image = {"name": "pytorch", "state": {"waiting": {"reason": "ImagePullBackOff", "message": 'Back-off pulling image "x"'}}}
    pods = [
        {"metadata": {"name": "a-master-0"}, "spec": {}, "status": {"conditions": [unscheduled]}},
        {"metadata": {"name": "a-worker-0"}, "spec": {}, "status": {"containerStatuses": [image]}},
    ]
    reason = '0/3 nodes are available: 3 Insufficient nvidia.com/gpu.; Back-off pulling image "x"'
    assert job_status(job, pods) == JobStatus(JobState.QUEUED, reason)
