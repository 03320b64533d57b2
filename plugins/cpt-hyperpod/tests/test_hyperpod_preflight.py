"""Before a submission the account, the cluster, S3 and Kubernetes are asked, and all that is wrong is said at once.

The real boto3 asks. S3 and STS are moto's. moto's SageMaker knows no restricted instance groups (5.2), so that API is a server of our
own that answers in the shape of botocore's model of DescribeCluster, through which the real client reads it.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.stub import Stubber

from cpt.contracts import Task
from cpt.errors import Fault, ResourceError
from cpt_hyperpod import HyperpodLauncher
from cpt_hyperpod.aws import Aws
from cpt_hyperpod.nova_job import NovaJob
from cpt_hyperpod.s3 import location_faults

Check = Callable[..., list[Fault]]
OUTPUT_ALONE = NovaJob("my-run", {"run": {"output_s3_path": "s3://output/runs"}}, "ml.p5.48xlarge", "image", "init")


@pytest.fixture
def check(nova_task: Callable[..., Task], launcher: Callable[..., HyperpodLauncher], sagemaker: Any, kubernetes: Any) -> Check:
    """The faults of a task."""

    def faults(*overrides: str, **options: object) -> list[Fault]:
        try:
            launcher(**options).check(nova_task(*overrides))
        except ResourceError as error:
            return list(error.faults)
        return []

    return faults


@pytest.fixture
def s3(sagemaker: Any) -> Any:
    client = boto3.client("s3", config=Config(region_name="us-east-1"))
    yield client
    client.close()


def test_a_job_that_can_run_passes(check: Check) -> None:
    assert check() == []
    assert check(instance_group="restricted", account="123456789012") == []


def test_images_that_move_are_warned_of(check: Check, caplog: pytest.LogCaptureFixture) -> None:
    check()
    assert [record.args[0] for record in caplog.records if record.levelname == "WARNING"] == ["image", "init_image"]
    caplog.clear()
    check(image=f"me/nova@sha256:{'0' * 64}", init_image="me/init:1.2")
    assert [record for record in caplog.records if record.levelname == "WARNING"] == []


def test_without_credentials_nothing_else_of_aws_is_asked(check: Check, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    [fault] = check()
    assert fault.rule == "no AWS credentials were found"
    assert "AWS_PROFILE" in fault.cure


def test_an_endpoint_that_cannot_be_reached_is_said_so(check: Check, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", "http://127.0.0.1:9")
    [fault] = check()
    assert "sts:GetCallerIdentity failed" in fault.rule
    assert "network" in fault.cure


def test_another_account_is_refused(check: Check) -> None:
    [fault] = check(account="000000000000")
    assert (fault.where, fault.rule) == ("launcher.options.account", "the credentials are those of the account 123456789012")


def test_a_cluster_that_is_not_there_is_refused(check: Check) -> None:
    [fault] = check(cluster="other")
    assert (fault.where, fault.rule) == ("launcher.options.cluster", "there is no such HyperPod cluster in us-east-1")


def test_motos_own_sagemaker_says_the_same_of_it(check: Check, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ENDPOINT_URL_SAGEMAKER")
    [fault] = check(cluster="other")
    assert fault.rule == "there is no such HyperPod cluster in us-east-1"


@pytest.mark.parametrize(
    ("change", "where", "says"),
    [
        ({"ClusterStatus": "Updating"}, "launcher.options.cluster", "is Updating, not InService"),
        ({"Orchestrator": {}}, "launcher.options.cluster", "Amazon EKS"),
        ({"RestrictedInstanceGroups": []}, "launcher.options.cluster", "no restricted instance group"),
        (
            {"Orchestrator": {"Eks": {"ClusterArn": "arn:aws:eks:us-east-1:1:cluster/x"}}},
            "launcher.options.context",
            "leads to arn:aws:eks",
        ),
    ],
)
def test_a_cluster_that_cannot_train_nova_is_refused(check: Check, sagemaker: Any, change: dict[str, Any], where: str, says: str) -> None:
    sagemaker.cluster |= change
    [fault] = check()
    assert fault.where == where
    assert says in fault.rule


@pytest.mark.parametrize(
    ("group", "where", "says"),
    [
        ({"CurrentCount": 1}, "cluster.nodes", "restricted has 1 of 8, InService"),
        ({"Status": "Creating"}, "cluster.nodes", "restricted has 8 of 8, Creating"),
        ({"InstanceType": "ml.p5en.48xlarge"}, "launcher.options.instance_type", "nova has ml.p5en.48xlarge in restricted"),
    ],
)
def test_a_group_that_cannot_take_the_job_is_refused(check: Check, sagemaker: Any, group: dict[str, Any], where: str, says: str) -> None:
    sagemaker.cluster["RestrictedInstanceGroups"][0] |= group
    [fault] = check()
    assert fault.where == where
    assert says in fault.rule


def test_one_group_must_take_it_and_only_the_one_that_is_named(check: Check, sagemaker: Any) -> None:
    groups = sagemaker.cluster["RestrictedInstanceGroups"]
    groups.append({**groups[0], "InstanceGroupName": "small", "CurrentCount": 1})
    assert check() == []
    [fault] = check(instance_group="small")
    assert fault.rule == "no group has so many in service: small has 1 of 8, InService"
    [fault] = check(instance_group="smaller")
    assert (fault.where, fault.cure) == ("launcher.options.instance_group", "It has restricted, small")


@pytest.mark.parametrize(
    ("override", "rule"),
    [
        ("data.train=s3://data/absent.jsonl", "there is no such object"),
        ("data.train=s3://absent/train.jsonl", "there is no such bucket"),
        ("data.train=s3://data/empty.jsonl", "is empty"),
        ("data.validation=s3://data/absent.jsonl", "there is no such object"),
        ("run.output=s3://absent/x", "there is no such bucket"),
    ],
)
def test_what_is_not_in_s3_is_refused(check: Check, s3: Any, override: str, rule: str) -> None:
    s3.put_object(Bucket="data", Key="empty.jsonl", Body=b"")
    [fault] = check(override)
    assert (fault.where, fault.rule) == (override.partition("=")[0], rule)


def test_a_bucket_in_another_region_is_refused_once(check: Check, s3: Any) -> None:
    s3.create_bucket(Bucket="far", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    [fault] = check("data.train=s3://far/train.jsonl", "run.output=s3://far/runs")
    assert fault.where == "data.train"
    assert "the bucket is in eu-west-1" in fault.rule


def test_an_output_bucket_of_another_account_is_refused() -> None:
    """moto hears no ExpectedBucketOwner (5.2): botocore's stub gives the two answers that S3 documents."""
    aws = Aws("us-east-1")
    with closing(boto3.client("s3", region_name="us-east-1", aws_access_key_id="test", aws_secret_access_key="test")) as client:
        aws.s3 = client
        for code, says in ((403, "the bucket is another account's"), (500, "s3:ListBucket failed")):
            with Stubber(client) as s3:
                bucket = {"Bucket": "output"}
                s3.add_response("head_bucket", {}, bucket)
                s3.add_client_error(
                    "head_bucket", str(code), http_status_code=code, expected_params={**bucket, "ExpectedBucketOwner": "1" * 12}
                )
                [fault] = location_faults(aws, OUTPUT_ALONE, "us-east-1", "1" * 12)
                s3.assert_no_pending_responses()
            assert fault.where == "run.output"
            assert says in fault.rule


def test_a_user_who_may_not_do_all_that_a_job_needs_is_told(check: Check, kubernetes: Any) -> None:
    needed = [(verb, resource) for resource in ("pytorchjobs", "configmaps") for verb in ("create", "get", "patch", "delete")]
    kubernetes.denied = set(needed)
    [fault] = check()
    assert (fault.where, fault.value) == ("launcher.options.namespace", "kubeflow")
    assert fault.rule == f"this user may not {', '.join(map(' '.join, needed))} there"
    kubernetes.denied = {("patch", "pytorchjobs"), ("delete", "configmaps")}
    [fault] = check()
    assert fault.rule == "this user may not patch pytorchjobs, delete configmaps there"


def test_a_cluster_without_the_training_operator_is_refused(check: Check, kubernetes: Any) -> None:
    kubernetes.offers.remove("/apis/kubeflow.org/v1")
    [fault] = check()
    assert (fault.value, fault.rule) == ("pytorchjobs.kubeflow.org", "the cluster has no such resource")


def test_a_context_that_is_not_there_is_refused(check: Check) -> None:
    [fault] = check(context="absent")
    assert "absent" in fault.rule
    assert "launcher.options.context" in fault.cure
    assert "hyperpod connect-cluster" in fault.cure


def test_a_machine_without_kubectl_is_told(check: Check, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    [fault] = check()
    assert (fault.where, fault.rule) == ("kubectl", "is not on PATH")
    assert "hyperpod connect-cluster" in fault.cure


def test_all_that_is_wrong_is_said_at_once(check: Check, sagemaker: Any, kubernetes: Any) -> None:
    sagemaker.cluster["RestrictedInstanceGroups"][0]["CurrentCount"] = 1
    kubernetes.denied = {("create", "pytorchjobs")}
    faults = check("data.train=s3://data/absent.jsonl", "run.output=s3://absent/x", account="000000000000")
    assert [fault.where for fault in faults] == [
        "launcher.options.account",
        "cluster.nodes",
        "data.train",
        "run.output",
        "launcher.options.namespace",
    ]
