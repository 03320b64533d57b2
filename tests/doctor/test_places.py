"""What the doctor says of places that are slow, full, refused or unreachable, and that it leaves nothing there."""

from __future__ import annotations

import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path

import boto3
import fsspec
import pytest

from cpt.composition import compose
from cpt.doctor import CHECKS, QUESTIONS, Finding, Report, examine

PLACES = ("run.output", "data.store", "lease")


def report_of(*overrides: str, only: tuple[str, ...] = PLACES) -> Report:
    return examine(compose(overrides).recipe, {subject: CHECKS[subject] for subject in only}, {"S3": QUESTIONS["S3"]})


def found(report: Report, subject: str) -> list[tuple[str, str, str]]:
    return [(one.level.value, one.text, one.cure) for one in report.findings if one.subject == subject]


def test_a_folder_is_written_read_and_locked_and_left_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    report = report_of(f"run.output={tmp_path}/there", f"data.store={tmp_path}/new/store")
    assert [one.level for one in report.findings] == ["ok"] * 3
    assert [one.subject for one in report.findings] == list(PLACES)
    assert "a checkpoint of 22.0 MB takes about" in report.findings[0].text
    assert list(tmp_path.rglob("*")) == [tmp_path / "there"]


def test_a_lock_that_is_held_by_nobody_is_taken_by_one_writer_only(tmp_path: Path) -> None:
    assert found(report_of(f"run.output={tmp_path}"), "lease") == [("ok", f"{tmp_path}: one writer at a time", "")]


def test_a_place_that_cannot_be_written_is_named_and_not_the_trial(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    place = f"{tmp_path}/file/runs"
    report = report_of(f"run.output={place}")
    assert found(report, "run.output") == found(report, "lease") == [("problem", f"{place}: not a directory", "check the path")]


def test_a_disk_that_takes_no_more_is_a_problem(tmp_path: Path) -> None:
    """The kernel's limit on the size of a file stands for a full disk: the write fails half way."""
    code = f"""
        import resource
        resource.setrlimit(resource.RLIMIT_FSIZE, (2**20, 2**20))
        from test_places import found, report_of
        print(found(report_of("run.output={tmp_path}"), "run.output"))
    """
    environment = {"PYTHONPATH": str(Path(__file__).parent)}
    result = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, env=environment, check=True)
    assert "problem" in result.stdout
    assert f"{tmp_path}: file too large" in result.stdout
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 1 MB."""
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(tmp_path)], capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip("nothing may be mounted here")
    yield tmp_path
    subprocess.run(["umount", str(tmp_path)], check=True)


def test_a_full_disk_is_named(small_disk: Path) -> None:
    level, text, cure = found(report_of(f"run.output={small_disk}"), "run.output")[0]
    assert (level, text) == ("problem", f"{small_disk}: no space is left on the device")
    assert cure.startswith("free some")


def test_room_for_the_checkpoints_is_asked_for(tmp_path: Path) -> None:
    level, _, cure = found(report_of(f"run.output={tmp_path}", "checkpoint.keep=100000000"), "run.output")[0]
    assert level == "problem"
    assert "lower checkpoint.keep" in cure


def test_a_bucket_is_put_to_got_from_listed_and_emptied_again(s3: str) -> None:
    report = report_of(f"run.output={s3}/runs", f"data.store={s3}/stores", only=("S3", *PLACES))
    assert [one.level for one in report.findings] == ["ok"] * 4
    assert report.findings[0].text.startswith("credentials from the environment · region us-east-1 · http://127.0.0.1:")
    assert report.findings[1].figures.keys() == {"put_ms", "get_ms", "list_ms", "delete_ms"}
    assert next(answer.works for answer in report.answers if answer.what == "S3")
    assert fsspec.filesystem("s3", skip_instance_cache=True).find(s3) == []


def test_what_is_to_be_read_from_a_bucket_is_looked_for(s3: str) -> None:
    fsspec.filesystem("s3", skip_instance_cache=True).pipe_file(f"{s3}/a.jsonl", b'{"text": "a"}\n')
    report = report_of("data=jsonl", f"data.train=[{s3}/a.jsonl,{s3}/b.jsonl]", f"data.validation={s3}/*.jsonl", only=("S3",))
    assert [(one.level.value, one.text) for one in report.findings][1:] == [
        ("ok", f"data.train: {s3}/a.jsonl is there"),
        ("problem", f"data.train[1]: {s3}/b.jsonl does not exist"),
        ("ok", f"data.validation: {s3}/*.jsonl is there"),
    ]


def test_denied_access_and_a_missing_bucket_are_told_apart(s3: str) -> None:
    client = boto3.client("s3")
    statement = f'{{"Effect": "Deny", "Principal": "*", "Action": "s3:*", "Resource": "arn:aws:s3:::{s3[5:]}/*"}}'
    client.put_bucket_policy(Bucket=s3[5:], Policy=f'{{"Version": "2012-10-17", "Statement": [{statement}]}}')
    client.close()
    denied = report_of(f"run.output={s3}/runs", only=("S3", "run.output"))
    assert found(denied, "run.output")[0][1] == f"{s3}/runs: access is denied"
    assert next(answer.works for answer in denied.answers if answer.what == "S3") is False
    missing = report_of("run.output=s3://bucket-that-is-not/runs", only=("run.output",))
    assert found(missing, "run.output")[0][1] == "s3://bucket-that-is-not/runs: there is no such bucket"


def test_missing_credentials_are_named_and_their_cure(s3: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    level, text, cure = found(report_of(f"run.output={s3}", only=("S3",)), "S3")[0]
    assert (level, text) == ("problem", "no credentials were found")
    assert "AWS_PROFILE" in cure


def test_no_secret_is_shown(s3: str, s3_endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hunter2hunter2")
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3_endpoint.replace("http://", "http://me:hunter2hunter2@"))
    report = report_of(f"run.output={s3}/runs", only=("S3", "run.output"))
    assert "its URL names a user" in report.findings[0].text
    assert "hunter2" not in str(report.to_json()) + "\n".join(report.lines())


def test_a_server_that_is_down_is_a_problem_within_seconds(s3: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    started = time.monotonic()
    _, text, cure = found(report_of(f"run.output={s3}/runs", only=("run.output",)), "run.output")[0]
    assert text.startswith(f"{s3}/runs: the endpoint cannot be reached")
    assert "AWS_ENDPOINT_URL" in cure
    assert time.monotonic() - started < 30


def test_a_location_of_an_unknown_kind_is_refused() -> None:
    recipe = compose([]).recipe
    odd = recipe.model_copy(update={"run": recipe.run.model_copy(update={"output": "ftp://host/x"})})
    finding: Finding = examine(odd, {"run.output": CHECKS["run.output"]}, {}).findings[0]
    assert finding.level == "problem"
    assert "ftp" in finding.text
