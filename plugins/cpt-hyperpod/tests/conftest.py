"""A user without a past, Amazon's APIs and Kubernetes' on this machine, and tasks for them.

S3 and STS are moto's server. SageMaker is a server of our own: moto's clusters have no restricted instance groups. The real boto3 reads
both. The Kubernetes API is a small one of our own too, which the real kubectl talks to.
"""

from __future__ import annotations

import json
import os
import shutil
import threading
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import yaml

from cpt.composition import compose
from cpt.contracts import Task
from cpt.plugins import validate_options
from cpt.recipe.schema import Recipe
from cpt_hyperpod import HyperpodLauncher

ACCOUNT = "123456789012"
EKS = f"arn:aws:eks:us-east-1:{ACCOUNT}:cluster/nova"
DEFAULTS = {"model": "model=nova_micro", "cluster": "cluster=p5x2"}
PATHS = ("data.train=s3://data/train.jsonl", "run.output=s3://output/runs")
Object = dict[str, Any]


@pytest.fixture(autouse=True)
def _own_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith(("AWS_", "KUBE"))]:
        monkeypatch.delenv(name)
    for name in ("HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME"):
        monkeypatch.setenv(name, str(tmp_path / "home"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


@cache
def _composed(overrides: tuple[str, ...]) -> Recipe:
    model, cluster = ([] if any(o.startswith(f"{group}=") for o in overrides) else [default] for group, default in DEFAULTS.items())
    return compose([*model, *cluster, *PATHS, "launcher=hyperpod", "launcher.options.cluster=nova", *overrides]).recipe


@pytest.fixture
def nova_task(tmp_path: Path) -> Callable[..., Task]:
    """A task as the core makes it of a recipe with these overrides."""

    def make(*overrides: str, name: str = "my-run", **changes: Any) -> Task:
        recipe = _composed(overrides)
        values = {"recipe": json.loads(recipe.model_dump_json()), **changes}
        return Task(name, ("python",), nodes=recipe.cluster.nodes, processes=8, folder=tmp_path / "job", gpus_per_node=8, **values)

    return make


@pytest.fixture
def launcher() -> Callable[..., HyperpodLauncher]:
    """A launcher with these options."""

    def make(**options: object) -> HyperpodLauncher:
        return HyperpodLauncher(validate_options(HyperpodLauncher.Options, {"cluster": "nova", **options}, "launcher.options"))

    return make


class Api(ThreadingHTTPServer):
    """A JSON API on this machine; `answer` says what to a request."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def answer(self, method: str, url: str, headers: Any, body: bytes) -> tuple[int, Any]:
        raise NotImplementedError

    def close(self) -> None:
        self.shutdown()
        self.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Api

    def _reply(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        code, answer = self.server.answer(self.command, self.path, self.headers, body)
        text = answer.encode() if isinstance(answer, str) else json.dumps(answer).encode()
        self.send_response(code)
        self.send_header("Content-Type", "text/plain" if isinstance(answer, str) else "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    do_GET = do_POST = do_PATCH = do_DELETE = _reply

    def log_message(self, *_: object) -> None:
        pass


class SageMaker(Api):
    """DescribeCluster, in the shape that the API documents."""

    cluster: Object | None

    def answer(self, method: str, url: str, headers: Any, body: bytes) -> tuple[int, Any]:
        assert headers["X-Amz-Target"] == "SageMaker.DescribeCluster"
        if self.cluster is None or json.loads(body)["ClusterName"] != self.cluster["ClusterName"]:
            return 400, {"__type": "ResourceNotFound", "message": "Cluster not found"}
        return 200, self.cluster


def group(name: str = "restricted", count: int = 8, kind: str = "ml.p5.48xlarge", status: str = "InService") -> Object:
    escrow = {"S3OutputPath": "s3://customer-escrow-123456789012-hp-abc"}
    counts = {"CurrentCount": count, "TargetCount": count}
    return {"InstanceGroupName": name, "InstanceType": kind, "Status": status, "EnvironmentConfig": escrow, **counts}


RESOURCES = {
    "/api/v1": [("configmaps", "ConfigMap"), ("pods", "Pod"), ("namespaces", "Namespace")],
    "/apis/kubeflow.org/v1": [("pytorchjobs", "PyTorchJob")],
    "/apis/authorization.k8s.io/v1": [("selfsubjectaccessreviews", "SelfSubjectAccessReview")],
}


class Kubernetes(Api):
    """Enough of the API for the commands in use: discovery, access reviews, create, get, list, patch, delete, logs."""

    def __init__(self) -> None:
        self.objects: dict[str, Object] = {}
        self.logs: dict[tuple[str, str], str] = {}
        self.denied: set[tuple[str, str]] = set()
        """Verbs and resources that this user may not."""
        self.offers = list(RESOURCES)
        self.refuses = ""
        self.requests: list[tuple[str, str]] = []
        super().__init__()

    def answer(self, method: str, url: str, headers: Any, body: bytes) -> tuple[int, Any]:
        path, query = urlsplit(url).path, parse_qs(urlsplit(url).query)
        self.requests.append((method, url))
        if method == "GET" and (found := _discovery(path, self.offers)):
            return 200, found
        if path.endswith("/selfsubjectaccessreviews"):
            review = json.loads(body)
            right = review["spec"]["resourceAttributes"]
            return 201, {**review, "status": {"allowed": (right["verb"], right["resource"]) not in self.denied}}
        if path.endswith("/log"):
            text = self.logs.get((path.split("/")[-2], query["container"][0]))
            return (200, text) if text is not None else (400, _status("BadRequest", "container is waiting to start"))
        return getattr(self, f"_{method.lower()}")(path, query, body)

    def _get(self, path: str, query: Any, body: bytes) -> tuple[int, Any]:
        if path in self.objects:
            return 200, self.objects[path]
        if path.rpartition("/")[2] not in ("pods", "pytorchjobs", "configmaps"):
            return 404, _status("NotFound", f"{path} not found")
        wanted = dict(pair.split("=") for pair in query.get("labelSelector", [""])[0].split(",") if pair)
        items = [
            o for place, o in self.objects.items() if place.startswith(f"{path}/") and wanted.items() <= o["metadata"]["labels"].items()
        ]
        return 200, {"kind": "List", "apiVersion": "v1", "items": items}

    def _post(self, path: str, query: Any, body: bytes) -> tuple[int, Any]:
        if self.refuses:
            return 403, _status("Forbidden", self.refuses)
        created = json.loads(body)
        created["metadata"]["uid"] = str(len(self.requests))
        self.objects[f"{path}/{created['metadata']['name']}"] = created
        return 201, created

    def _patch(self, path: str, query: Any, body: bytes) -> tuple[int, Any]:
        self.objects[path] |= {key: value for key, value in json.loads(body).items() if key == "data"}
        return 200, self.objects[path]

    def _delete(self, path: str, query: Any, body: bytes) -> tuple[int, Any]:
        gone = self.objects.pop(path, None)
        return (200, _status("", "", "Success")) if gone else (404, _status("NotFound", f"{path} not found"))

    def pod(self, job: str, name: str, role: str, index: int, image: str = "") -> None:
        """Adds a pod as the training operator does."""
        labels = {"job-name": job, "replica-type": role, "replica-index": str(index)}
        self.objects[f"/api/v1/namespaces/kubeflow/pods/{name}"] = {
            "kind": "Pod",
            "apiVersion": "v1",
            "metadata": {"name": name, "labels": {f"training.kubeflow.org/{key}": value for key, value in labels.items()}},
            "spec": {"containers": [{"name": "pytorch"}], "initContainers": [{"name": "init-container"}]},
            "status": {"containerStatuses": [{"name": "pytorch", "imageID": image}]},
        }

    def conditions(self, job: str, *types: str) -> None:
        """Brings a PyTorchJob to where the last of these conditions holds, and the others no more."""
        [found] = [o for path, o in self.objects.items() if path.endswith(f"/pytorchjobs/{job}")]
        holding = [{"type": kind, "status": str(kind == types[-1]), "message": f"it is {kind}", "reason": kind} for kind in types]
        found["status"] = {"conditions": holding}


def _status(reason: str, message: str, status: str = "Failure") -> Object:
    return {"kind": "Status", "apiVersion": "v1", "status": status, "reason": reason, "message": message}


def _discovery(path: str, offers: Sequence[str]) -> Object | None:
    if path == "/api":
        return {"kind": "APIVersions", "versions": ["v1"]}
    if path == "/apis":
        versions = [place.removeprefix("/apis/") for place in offers if place.startswith("/apis/")]
        entries = [{"groupVersion": version, "version": version.split("/")[1]} for version in versions]
        groups = [{"name": e["groupVersion"].split("/")[0], "versions": [e], "preferredVersion": e} for e in entries]
        return {"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}
    if path in offers:
        kinds = [{"name": name, "singularName": "", "namespaced": True, "kind": kind, "verbs": ["get"]} for name, kind in RESOURCES[path]]
        return {"kind": "APIResourceList", "groupVersion": path.split("/", 2)[2].removeprefix("v1/") or "v1", "resources": kinds}
    return _openapi(path)


def _openapi(path: str) -> Object | None:
    """What kubectl asks before it leaves the judging of fields to the server."""
    if path == "/openapi/v3":
        return {"paths": {place[1:]: {"serverRelativeURL": f"/openapi/v3{place}"} for place in RESOURCES}}
    place = path.removeprefix("/openapi/v3")
    if place not in RESOURCES or place == path:
        return None
    group = place.split("/")[2] if place.startswith("/apis/") else ""
    checks = [{"name": "fieldValidation", "in": "query"}]
    patches = {
        f"{place}/namespaces/{{namespace}}/{name}/{{name}}": {
            "patch": {"parameters": checks, "x-kubernetes-group-version-kind": {"group": group, "version": "v1", "kind": kind}}
        }
        for name, kind in RESOURCES[place]
    }
    return {"openapi": "3.0.0", "info": {"title": "Kubernetes", "version": "v1.32.0"}, "paths": patches}


@pytest.fixture
def kubernetes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Kubernetes]:
    """The Kubernetes API, where KUBECONFIG's current context leads."""
    if shutil.which("kubectl") is None:
        pytest.skip("kubectl is not installed")
    api = Kubernetes()
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": EKS, "cluster": {"server": api.url}}],
        "users": [{"name": "me", "user": {}}],
        "contexts": [{"name": "nova", "context": {"cluster": EKS, "user": "me"}}],
        "current-context": "nova",
    }
    (tmp_path / "kubeconfig").write_text(yaml.safe_dump(config))
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "kubeconfig"))
    yield api
    api.close()


@pytest.fixture(scope="session")
def _moto() -> Iterator[str]:
    from moto.server import ThreadedMotoServer  # noqa: PLC0415  a second to import

    server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def sagemaker(_moto: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[SageMaker]:
    """Amazon's APIs: a cluster that takes a job of eight nodes, an empty S3, an account."""
    import boto3  # noqa: PLC0415

    api = SageMaker()
    api.cluster = {
        "ClusterName": "nova",
        "ClusterStatus": "InService",
        "Orchestrator": {"Eks": {"ClusterArn": EKS}},
        "InstanceGroups": [],
        "RestrictedInstanceGroups": [group()],
    }
    for name, value in {
        "AWS_ENDPOINT_URL": _moto,
        "AWS_ENDPOINT_URL_SAGEMAKER": api.url,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    urllib.request.urlopen(urllib.request.Request(f"{_moto}/moto-api/reset", method="POST")).close()
    client = boto3.client("s3")
    for bucket in ("data", "output"):
        client.create_bucket(Bucket=bucket)
    client.put_object(Bucket="data", Key="train.jsonl", Body=b'{"text": "a"}\n')
    client.close()
    yield api
    api.close()
