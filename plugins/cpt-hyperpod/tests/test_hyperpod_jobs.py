"""Jobs go to a Kubernetes API by the real kubectl: submitted once, followed, read, cancelled, and their results taken."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from typing import Any

import boto3
import pytest
import yaml

from cpt.contracts import JobRef, JobState, Task
from cpt.errors import CheckpointError, ResourceError
from cpt_hyperpod import HyperpodLauncher

ESCROW = "s3://customer-escrow-123456789012-hp-abc/my-run/step-100"
DIGEST = "123.dkr.ecr.us-east-1.amazonaws.com/nova@sha256:0123"


@pytest.fixture
def submitted(nova_task: Callable[..., Task], launcher: Callable[..., HyperpodLauncher], sagemaker: Any, kubernetes: Any) -> JobRef:
    """A job that was submitted just now."""
    task = nova_task()
    [job] = launcher().submit(task)
    return JobRef(job, task.name, str(task.folder))


@pytest.fixture
def manifest(submitted: JobRef) -> Callable[[str], None]:
    """Writes what Amazon's engine leaves where it writes to."""

    def write(text: str) -> None:
        client = boto3.client("s3")
        client.put_object(Bucket="output", Key=f"runs/{submitted.id}/manifest.json", Body=text.encode())
        client.close()

    return write


def test_what_is_submitted_is_what_was_rendered_with_the_account_filled_in(
    submitted: JobRef, kubernetes: Any, nova_task: Callable[..., Task], launcher: Callable[..., HyperpodLauncher]
) -> None:
    text = launcher().render(nova_task())["pytorchjob.yaml"].replace("ACCOUNT_ID_FROM_STS", '"123456789012"')
    there = {path.split("/")[-2]: tree for path, tree in kubernetes.objects.items()}
    for rendered in yaml.safe_load_all(text):
        found = there["configmaps" if rendered["kind"] == "ConfigMap" else "pytorchjobs"]
        assert {key: found[key] for key in rendered if key != "metadata"} == {key: rendered[key] for key in rendered if key != "metadata"}
        assert found["metadata"]["labels"] == rendered["metadata"]["labels"]


def test_the_files_are_left_in_the_tasks_folder(submitted: JobRef, nova_task: Callable[..., Task]) -> None:
    names = {path.name for path in nova_task().folder.iterdir()}
    assert names == {"pytorchjob.yaml", "recipe.yaml", "override-parameters.json"}


@pytest.mark.parametrize(
    ("conditions", "state"),
    [
        ((), JobState.QUEUED),
        (("Created",), JobState.QUEUED),
        (("Created", "Suspended"), JobState.QUEUED),
        (("Created", "Running"), JobState.RUNNING),
        (("Created", "Running", "Restarting"), JobState.QUEUED),
        (("Created", "Running", "Succeeded"), JobState.COMPLETED),
        (("Created", "Running", "Failed"), JobState.FAILED),
    ],
)
def test_the_condition_that_holds_is_the_state(
    submitted: JobRef, kubernetes: Any, launcher: Callable[..., HyperpodLauncher], conditions: tuple[str, ...], state: JobState
) -> None:
    if conditions:
        kubernetes.conditions(submitted.id, *conditions)
    status = launcher().status(submitted)
    assert status.state is state
    assert status.reason == (f"it is {conditions[-1]}" if conditions else "not seen by the training operator yet")


@pytest.mark.parametrize(("condition", "says"), [("Running", "submitted already"), ("Succeeded", "trained by this job already")])
def test_a_recipe_is_not_submitted_twice_while_its_job_lives_or_is_done(
    submitted: JobRef, nova_task: Callable[..., Task], launcher: Callable[..., HyperpodLauncher], kubernetes: Any, condition: str, says: str
) -> None:
    kubernetes.conditions(submitted.id, condition)
    before = dict(kubernetes.objects)
    with pytest.raises(ResourceError, match=says):
        launcher().submit(nova_task())
    assert kubernetes.objects == before


def test_a_job_that_has_failed_makes_way(
    submitted: JobRef, nova_task: Callable[..., Task], launcher: Callable[..., HyperpodLauncher], kubernetes: Any
) -> None:
    kubernetes.conditions(submitted.id, "Failed")
    assert launcher().submit(nova_task()) == (submitted.id,)
    assert launcher().status(submitted).state is JobState.QUEUED


def test_a_cancelled_job_is_gone_with_its_recipe_and_may_be_submitted_again(
    submitted: JobRef, nova_task: Callable[..., Task], launcher: Callable[..., HyperpodLauncher], kubernetes: Any
) -> None:
    launcher().cancel(submitted)
    assert kubernetes.objects == {}
    assert launcher().status(submitted).state is JobState.CANCELLED
    launcher().cancel(submitted)
    assert launcher().submit(nova_task()) == (submitted.id,)
    assert launcher().status(submitted).state is JobState.QUEUED
    kubernetes.objects.clear()
    assert launcher().status(submitted).state is JobState.UNKNOWN  # somebody else took it away


def test_a_job_that_has_ended_is_not_taken_away(submitted: JobRef, launcher: Callable[..., HyperpodLauncher], kubernetes: Any) -> None:
    kubernetes.conditions(submitted.id, "Succeeded")
    launcher().cancel(submitted)
    assert launcher().status(submitted).state is JobState.COMPLETED


def test_each_nodes_lines_come_in_order_the_masters_first(
    submitted: JobRef, launcher: Callable[..., HyperpodLauncher], kubernetes: Any
) -> None:
    for name, role, index in (("w-10", "worker", 10), ("w-2", "worker", 2), ("m", "master", 0)):
        kubernetes.pod(submitted.id, name, role, index)
        kubernetes.logs[name, "pytorch"] = f"{name} one\n{name} two\n"
    kubernetes.logs["m", "init-container"] = "prepared\n"
    kubernetes.pod("another-job", "x", "master", 0)
    kubernetes.logs["x", "pytorch"] = "not ours\n"
    assert list(launcher().logs(submitted)) == [
        ("node 0", "prepared"),
        ("node 0", "m one"),
        ("node 0", "m two"),
        ("node 3", "w-2 one"),
        ("node 3", "w-2 two"),
        ("node 11", "w-10 one"),
        ("node 11", "w-10 two"),
    ]


def test_a_completed_jobs_checkpoint_is_what_its_manifest_names(
    submitted: JobRef, launcher: Callable[..., HyperpodLauncher], kubernetes: Any, manifest: Callable[[str], None]
) -> None:
    manifest(json.dumps({"checkpoint_s3_bucket": ESCROW, "more": 1}))
    kubernetes.pod(submitted.id, "m", "master", 0, image=DIGEST)
    assert launcher().results(submitted) == {
        "checkpoint_s3_bucket": ESCROW,
        "amazon": {"job": submitted.id, "manifest": f"s3://output/runs/{submitted.id}/manifest.json", "image": DIGEST},
    }


def test_a_job_without_a_manifest_may_not_be_completed(submitted: JobRef, launcher: Callable[..., HyperpodLauncher]) -> None:
    with pytest.raises(CheckpointError, match="left no manifest") as error:
        launcher().results(submitted)
    assert "may not be completed" in error.value.faults[0].cure


@pytest.mark.parametrize("text", ["{}", "[]", "?", '{"checkpoint_s3_bucket": ""}', '{"checkpoint_s3_bucket": "my-run/step-100"}'])
def test_a_manifest_that_names_no_checkpoint_is_refused(
    submitted: JobRef, launcher: Callable[..., HyperpodLauncher], manifest: Callable[[str], None], text: str
) -> None:
    manifest(text)
    with pytest.raises(CheckpointError, match="checkpoint_s3_bucket"):
        launcher().results(submitted)


@pytest.mark.parametrize("lost", ["folder", "cluster"])
def test_where_a_job_has_written_is_known_from_its_folder_or_the_cluster(
    submitted: JobRef, launcher: Callable[..., HyperpodLauncher], kubernetes: Any, manifest: Callable[[str], None], lost: str
) -> None:
    manifest(json.dumps({"checkpoint_s3_bucket": ESCROW}))
    if lost == "cluster":
        kubernetes.objects.clear()
    else:
        shutil.rmtree(submitted.folder)
    assert launcher().results(submitted)["checkpoint_s3_bucket"] == ESCROW


def test_a_job_whose_recipe_is_gone_is_refused(submitted: JobRef, launcher: Callable[..., HyperpodLauncher], kubernetes: Any) -> None:
    kubernetes.objects.clear()
    shutil.rmtree(submitted.folder)
    with pytest.raises(CheckpointError, match="is gone"):
        launcher().results(submitted)


def test_what_the_api_refuses_is_said_in_its_words(
    nova_task: Callable[..., Task], launcher: Callable[..., HyperpodLauncher], kubernetes: Any
) -> None:
    kubernetes.refuses = "pytorchjobs.kubeflow.org is forbidden: quota exceeded"
    with pytest.raises(ResourceError, match="quota exceeded"):
        launcher(account="123456789012").submit(nova_task())


def test_an_api_that_cannot_be_reached_is_no_unknown_job(
    submitted: JobRef, launcher: Callable[..., HyperpodLauncher], kubernetes: Any
) -> None:
    kubernetes.close()
    with pytest.raises(ResourceError, match=r"refused.*kubectl cluster-info.*hyperpod connect-cluster"):
        launcher().status(submitted)


def test_an_id_from_a_strangers_manifest_is_no_option_of_kubectl(launcher: Callable[..., HyperpodLauncher], kubernetes: Any) -> None:
    job = JobRef("--all", "x", "")
    assert launcher().status(job).state is JobState.UNKNOWN
    launcher().cancel(job)
    assert [url for method, url in kubernetes.requests if method != "GET"] == []


def test_context_and_namespace_are_what_kubectl_is_given(
    nova_task: Callable[..., Task], launcher: Callable[..., HyperpodLauncher], kubernetes: Any
) -> None:
    launcher(account="123456789012", context="nova", namespace="team-a").submit(nova_task())
    assert {path.split("/namespaces/")[1].split("/")[0] for path in kubernetes.objects} == {"team-a"}


@pytest.mark.parametrize("value", ["a\nb", "$(touch ran)", "--help", "; touch ran", "x y"])
@pytest.mark.parametrize("option", ["namespace", "instance_group", "service_account", "image", "cluster", "region", "account"])
def test_a_hostile_name_is_refused_before_anything(launcher: Callable[..., HyperpodLauncher], option: str, value: str) -> None:
    with pytest.raises(Exception, match=rf"launcher\.options\.{option}"):
        launcher(**{option: value})
