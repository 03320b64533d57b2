"""What can be known before a submission: the account, the cluster and its restricted instance groups, S3, and the Kubernetes API."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from cpt.errors import Fault, ResourceError
from cpt.kubectl import Kubectl, KubectlError
from cpt.recipe.document import write_document
from cpt_hyperpod.aws import Aws, aws_errors, error_code, explained
from cpt_hyperpod.nova_job import NovaJob
from cpt_hyperpod.options import HyperpodOptions
from cpt_hyperpod.s3 import location_faults

CLUSTER, GROUP, NODES = "launcher.options.cluster", "launcher.options.instance_group", "cluster.nodes"
JOBS = "pytorchjobs.kubeflow.org"
RESOURCES, VERBS = (("kubeflow.org", "pytorchjobs"), ("", "configmaps")), ("create", "get", "patch", "delete")
"""What a job is made of, by API group, and what is done with it: `apply` asks, creates or patches; one that has failed makes way."""
Group = Mapping[str, Any]


def faults(job: NovaJob, options: HyperpodOptions, kubectl: Kubectl) -> list[Fault]:
    """All that stands against `job`."""
    return [*_aws_faults(job, options, kubectl), *_kubernetes_faults(kubectl, options)]


def account(options: HyperpodOptions) -> str:
    """The AWS account of the credentials.

    Raises:
        ResourceError: There are none that AWS takes.
    """
    try:
        return str(Aws(options.region).sts.get_caller_identity()["Account"])
    except aws_errors() as error:
        raise ResourceError.of([explained("launcher.options.account", "", "sts:GetCallerIdentity", error)]) from None


def _aws_faults(job: NovaJob, options: HyperpodOptions, kubectl: Kubectl) -> Iterator[Fault]:
    """What AWS says; without credentials nothing else is asked."""
    try:
        ours = account(options)
    except ResourceError as error:
        yield from error.faults
        return
    if options.account not in (None, ours):
        rule = f"the credentials are those of the account {ours}"
        yield Fault("launcher.options.account", str(options.account), rule, "Leave it null, or use that account's credentials")
    aws = Aws(options.region)
    yield from _cluster_faults(aws, job, options, kubectl)
    yield from location_faults(aws, job, options.region, ours)


def _cluster_faults(aws: Aws, job: NovaJob, options: HyperpodOptions, kubectl: Kubectl) -> Iterator[Fault]:
    try:
        cluster = aws.sagemaker.describe_cluster(ClusterName=options.cluster)
    except aws_errors() as error:
        if error_code(error) in ("ResourceNotFound", "ValidationException"):
            rule, cure = f"there is no such HyperPod cluster in {options.region}", "Check the name and launcher.options.region"
            yield Fault(CLUSTER, options.cluster, rule, cure)
        else:
            yield explained(CLUSTER, options.cluster, "sagemaker:DescribeCluster", error)
        return
    if (status := cluster.get("ClusterStatus")) != "InService":
        yield Fault(CLUSTER, options.cluster, f"is {status}, not InService", cluster.get("FailureMessage", ""))
    yield from _orchestrator_faults(cluster, options, kubectl)
    yield from _group_faults(cluster.get("RestrictedInstanceGroups", []), job, options)


def _orchestrator_faults(cluster: Mapping[str, Any], options: HyperpodOptions, kubectl: Kubectl) -> Iterator[Fault]:
    """Whether EKS orchestrates the cluster, and kubectl leads there: AWS's commands call a kubeconfig's cluster by its ARN."""
    wanted = cluster.get("Orchestrator", {}).get("Eks", {}).get("ClusterArn")
    reached = _reached(kubectl)
    if wanted is None:
        yield Fault(CLUSTER, options.cluster, "Nova trains on clusters that Amazon EKS orchestrates", "Name one of these")
    elif reached.startswith("arn:") and reached != wanted:
        rule = f"leads to {reached}, and {options.cluster} is {wanted}"
        yield Fault("launcher.options.context", str(options.context or "null"), rule, "Name the context of that one")


def _group_faults(groups: Sequence[Group], job: NovaJob, options: HyperpodOptions) -> Iterator[Fault]:
    """Whether a group that the job may use can take all its nodes now."""
    usable = [group for group in groups if options.instance_group in (None, group["InstanceGroupName"])]
    fitting = [group for group in usable if group.get("InstanceType") == job.instance_type]
    if not groups:
        yield Fault(CLUSTER, options.cluster, "has no restricted instance group, and Nova trains in no other", "Add one to the cluster")
    elif not usable:
        names = ", ".join(group["InstanceGroupName"] for group in groups)
        yield Fault(GROUP, str(options.instance_group), f"{options.cluster} has no such restricted instance group", f"It has {names}")
    elif not fitting:
        types = ", ".join(f"{group.get('InstanceType')} in {group['InstanceGroupName']}" for group in usable)
        yield Fault("launcher.options.instance_type", job.instance_type, f"{options.cluster} has {types}", "Name that one")
    elif not any(_takes(group, job.nodes) for group in fitting):
        yield Fault(
            NODES, str(job.nodes), f"no group has so many in service: {', '.join(map(_shown, fitting))}", "Use fewer, or scale one up"
        )


def _takes(group: Group, nodes: int) -> bool:
    return group.get("Status") == "InService" and int(group.get("CurrentCount", 0)) >= nodes


def _shown(group: Group) -> str:
    return f"{group['InstanceGroupName']} has {group.get('CurrentCount', 0)} of {group.get('TargetCount', 0)}, {group.get('Status')}"


def _reached(kubectl: Kubectl) -> str:
    """What the kubeconfig calls the cluster that is reached; empty where there is none."""
    try:
        clusters = json.loads(kubectl.run("config", "view", "--minify", "--output=json")).get("clusters")
    except KubectlError:
        return ""
    return str(clusters[0]["name"]) if clusters else ""


def _kubernetes_faults(kubectl: Kubectl, options: HyperpodOptions) -> Iterator[Fault]:
    """Whether the training operator is there, and this user may do all that a job needs."""
    try:
        kubectl.run("get", "--raw", "/apis/kubeflow.org/v1")
        denied = _denied(kubectl, options.namespace)
    except KubectlError as error:
        if "(NotFound)" in error.words:
            yield Fault("kubectl", JOBS, "the cluster has no such resource", "Install Kubeflow's training operator there")
        else:
            yield from error.faults
        return
    if denied:
        rule = f"this user may not {', '.join(denied)} there"
        yield Fault("launcher.options.namespace", options.namespace, rule, "Have an EKS access entry allow it, or name another namespace")


def _denied(kubectl: Kubectl, namespace: str) -> list[str]:
    """What this user may not do: `patch configmaps`. One start of kubectl asks all, since each may fetch an EKS token first."""
    asked = [(verb, group, resource) for group, resource in RESOURCES for verb in VERBS]
    reviews = "".join(f"---\n{write_document(_review(namespace, *right))}" for right in asked)
    answers = kubectl.run("create", "--filename=-", '--output=jsonpath={.status.allowed}{"\\n"}', stdin=reviews).split()
    return [f"{verb} {resource}" for (verb, _, resource), answer in zip(asked, answers, strict=True) if answer != "true"]


def _review(namespace: str, verb: str, group: str, resource: str) -> dict[str, Any]:
    right = {"namespace": namespace, "verb": verb, "group": group, "resource": resource}
    kind = {"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview"}
    return {**kind, "spec": {"resourceAttributes": right}}
