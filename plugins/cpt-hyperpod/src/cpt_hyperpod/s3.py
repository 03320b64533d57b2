"""S3: whether what a job reads and writes is there, in the cluster's region; and the manifest that a finished job leaves."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from cpt.errors import CheckpointError, Fault
from cpt_hyperpod.aws import DENIED, Aws, aws_errors, error_code, explained
from cpt_hyperpod.nova_job import NovaJob

READ = {"data.train": "data_s3_path", "data.validation": "validation_data_s3_path"}
"""Amazon's key of `run` by ours: one object each."""
OUTPUT = "run.output"
REGION_HEADER = "x-amz-bucket-region"
MISSING = ("404", "NoSuchBucket", "NoSuchKey", "NotFound")


def location_faults(aws: Aws, job: NovaJob, region: str, account: str) -> Iterator[Fault]:
    """What is wrong with the buckets and objects that `job` names.

    Args:
        aws: Who asks.
        job: What trains.
        region: Where the buckets must be.
        account: Whose the output's must be.
    """
    run = job.recipe["run"]
    objects = {key: uri for key, amazons in READ.items() if (uri := run.get(amazons))}
    bad: set[str] = set()
    for key, uri in {**objects, OUTPUT: run["output_s3_path"]}.items():
        bucket, name = _parts(uri)
        if bucket in bad:
            continue
        if fault := _bucket_fault(aws, key, uri, region):
            bad.add(bucket)
            yield fault
        elif fault := _owner_fault(aws, uri, account) if key == OUTPUT else _object_fault(aws, key, bucket, name):
            yield fault


def checkpoint_of(aws: Aws, manifest: str) -> str:
    """The checkpoint that Amazon's manifest names: a whole URI, in spite of its key's name, `checkpoint_s3_bucket`.

    Raises:
        CheckpointError: The manifest is not there, or names none.
    """
    bucket, name = _parts(manifest)
    try:
        text = aws.s3.get_object(Bucket=bucket, Key=name)["Body"].read()
    except aws_errors() as error:
        if error_code(error) not in MISSING:
            raise CheckpointError.of([explained("manifest.json", manifest, "s3:GetObject", error)]) from None
        rule = "Amazon's engine has left no manifest there"
        raise CheckpointError("manifest.json", manifest, rule, "The job may not be completed, or writes to another output") from None
    checkpoint = _named_checkpoint(text)
    if not checkpoint.startswith("s3://"):
        rule = f"checkpoint_s3_bucket names no s3:// URI in it: {checkpoint!r}"
        cure = "Where it is relative, put the cluster's escrow before it (EnvironmentConfig.S3OutputPath) and name that as model.init"
        raise CheckpointError("manifest.json", manifest, rule, cure)
    return checkpoint


def _named_checkpoint(text: bytes) -> str:
    try:
        tree = json.loads(text)
    except ValueError:
        return ""
    checkpoint = tree.get("checkpoint_s3_bucket") if isinstance(tree, dict) else None
    return checkpoint.strip() if isinstance(checkpoint, str) else ""


def _bucket_fault(aws: Aws, key: str, uri: str, region: str) -> Fault | None:
    try:
        answer: dict[str, Any] = aws.s3.head_bucket(Bucket=_parts(uri)[0])
    except aws_errors() as error:
        if error_code(error) in MISSING:
            return Fault(key, uri, "there is no such bucket", "Check its name, or create it")
        answer = getattr(error, "response", {})
        if _region(answer) in (None, region):
            return explained(key, uri, "s3:ListBucket", error)
    if (found := _region(answer)) not in (None, region):
        cure = f"Use a bucket in {region}"
        return Fault(key, uri, f"the bucket is in {found}: Amazon wants data and output in the cluster's region", cure)
    return None


def _owner_fault(aws: Aws, uri: str, account: str) -> Fault | None:
    """Whether a bucket that is there is another account's: S3 then denies what it allowed without the question."""
    try:
        aws.s3.head_bucket(Bucket=_parts(uri)[0], ExpectedBucketOwner=account)
    except aws_errors() as error:
        if error_code(error) not in DENIED:
            return explained(OUTPUT, uri, "s3:ListBucket", error)
        rule = f"the bucket is another account's: Amazon wants the output in the cluster's, {account}"
        return Fault(OUTPUT, uri, rule, "Use a bucket of that account")
    return None


def _object_fault(aws: Aws, key: str, bucket: str, name: str) -> Fault | None:
    try:
        answer = aws.s3.head_object(Bucket=bucket, Key=name)
    except aws_errors() as error:
        if error_code(error) in MISSING:
            return Fault(key, f"s3://{bucket}/{name}", "there is no such object", "Check the path: Amazon reads one JSONL file")
        return explained(key, f"s3://{bucket}/{name}", "s3:GetObject", error)
    return None if answer["ContentLength"] else Fault(key, f"s3://{bucket}/{name}", "is empty", "cpt validate says what a file must hold")


def _region(answer: dict[str, Any]) -> str | None:
    headers: dict[str, str] = answer.get("ResponseMetadata", {}).get("HTTPHeaders", {})
    return headers.get(REGION_HEADER)


def _parts(uri: str) -> tuple[str, str]:
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    return bucket, key
