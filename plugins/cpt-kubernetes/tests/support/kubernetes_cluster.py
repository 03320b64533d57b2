"""A Kubernetes API server over HTTP, as much of one as kubectl asks for a PyTorchJob: it judges what is posted by the published schemas."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import parse_qs, urlsplit

import yaml
from jsonschema import Draft202012Validator
from pytorch_operator import Job

SCHEMAS = Path(__file__).parents[1] / "schema"
GROUPS: dict[str, dict[str, str]] = {
    "v1": {
        "namespaces": "Namespace",
        "pods": "Pod",
        "secrets": "Secret",
        "serviceaccounts": "ServiceAccount",
        "persistentvolumeclaims": "PersistentVolumeClaim",
    },
    "kubeflow.org/v1": {"pytorchjobs": "PyTorchJob"},
    "kueue.x-k8s.io/v1beta1": {"localqueues": "LocalQueue"},
    "scheduling.k8s.io/v1": {"priorityclasses": "PriorityClass"},
}
CLUSTER_WIDE = ("namespaces", "priorityclasses")
JOBS = "kubeflow.org/v1"


def validator() -> Draft202012Validator:
    """Of a PyTorchJob: the operator's schema with Kubernetes' pod template in it."""
    schema = yaml.safe_load((SCHEMAS / "pytorchjob.yaml").read_text())
    return Draft202012Validator({**schema, **json.loads((SCHEMAS / "pod_template.json").read_text())})


class RefusedError(Exception):
    """A request is answered with a Status."""

    def __init__(self, code: int, reason: str, message: str) -> None:
        self.code, self.reason, self.message = code, reason, message
        super().__init__(message)


class Cluster:
    """The server and its state.

    Args:
        folder: For its kubeconfig and the logs of pods.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.jobs, self.posted = folder, dict[str, Job](), list[dict[str, Any]]()
        self.groups = dict(GROUPS)
        self.objects = {"namespaces/ml", "serviceaccounts/default"}
        """`RESOURCE/NAME` of what is there besides jobs and pods."""
        self.forbidden: set[str] = set()
        """Resources that this user may not touch."""
        self.jobs_allowed = 100
        self._numbers, self._validator, self._lock = count(), validator(), threading.RLock()
        handler = type("Handler", (_Handler,), {"cluster": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self._thread.start()

    @property
    def kubeconfig(self) -> Path:
        """A configuration whose current context leads here, namespace `ml`."""
        path = self.folder / "kubeconfig"
        contexts = [{"name": "here", "context": {"cluster": "here", "user": "me", "namespace": "ml"}}]
        server = {"name": "here", "cluster": {"server": f"http://127.0.0.1:{self._server.server_port}"}}
        tree = {"apiVersion": "v1", "kind": "Config", "current-context": "here", "clusters": [server], "contexts": contexts}
        path.write_text(json.dumps({**tree, "users": [{"name": "me", "user": {}}]}))
        return path

    def close(self) -> None:
        """Ends every pod and stops listening."""
        for job in self.jobs.values():
            job.end()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def answer(self, verb: str, url: str, body: bytes) -> object:
        """The answer to a request: an object, or text for a log.

        Raises:
            RefusedError: It is none that can be served.
        """
        parts = urlsplit(url)
        query = {key: values[-1] for key, values in parse_qs(parts.query).items()}
        with self._lock:
            self._reconcile()
            if (document := self._discovery(parts.path)) is not None:
                return document
            return self._resource(verb, parts.path, query, body)

    def _reconcile(self) -> None:
        for job in self.jobs.values():
            job.reconcile()
        self.jobs = {name: job for name, job in self.jobs.items() if not job.gone}

    def _discovery(self, path: str) -> object:
        groups = [group for group in self.groups if "/" in group]
        known: dict[str, object] = {
            "/version": {"major": "1", "minor": "32", "gitVersion": "v1.32.0"},
            "/api": {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []},
            "/apis": {"kind": "APIGroupList", "apiVersion": "v1", "groups": [_group(group) for group in groups]},
            "/openapi/v3": {"paths": {f"apis/{JOBS}": {"serverRelativeURL": f"/openapi/v3/apis/{JOBS}"}}},
            f"/openapi/v3/apis/{JOBS}": _openapi(),
        }
        for group, resources in self.groups.items():
            known[f"/apis/{group}" if "/" in group else f"/api/{group}"] = _resources(group, resources)
        return known.get(path)

    def _resource(self, verb: str, path: str, query: Mapping[str, str], body: bytes) -> object:
        match = re.fullmatch(
            r"/apis?/(?P<group>(?:[a-z0-9.-]+\.[a-z0-9.-]+/)?v1(?:beta1)?)(?:/namespaces/(?P<ns>[^/]+))?/(?P<rest>[a-z]+.*)", path
        )
        if match is None or match["group"] not in self.groups:
            if match := re.fullmatch(r"/api/v1/namespaces/([^/]+)", path):
                return self._named("namespaces", match[1])
            raise RefusedError(404, "NotFound", "the server could not find the requested resource")
        resource, _, name = match["rest"].partition("/")
        if resource in self.forbidden:
            raise RefusedError(403, "Forbidden", f'{resource} is forbidden: User "me" cannot use resource "{resource}"')
        if match["ns"] and f"namespaces/{match['ns']}" not in self.objects:
            raise RefusedError(404, "NotFound", f'namespaces "{match["ns"]}" not found')
        if resource == "pytorchjobs":
            return self._create(json.loads(body), query) if verb == "POST" else self._job(verb, name, query, body)
        return self._pods(query, name) if resource == "pods" else self._named(resource, name)

    def _named(self, resource: str, name: str) -> object:
        if f"{resource}/{name}" not in self.objects:
            raise RefusedError(404, "NotFound", f'{resource} "{name}" not found')
        group, kind = next((group, kinds[resource]) for group, kinds in self.groups.items() if resource in kinds)
        return {"apiVersion": group, "kind": kind, "metadata": {"name": name}}

    def _create(self, tree: dict[str, Any], query: Mapping[str, str]) -> object:
        assert query.get("fieldValidation") == "Strict"
        faults = [f"{'.'.join(map(str, error.absolute_path))}: {error.message}" for error in self._validator.iter_errors(tree)]
        name = tree["metadata"]["generateName"] + f"{next(self._numbers):05d}"
        if not re.fullmatch(r"[a-z]([-a-z0-9]*[a-z0-9])?", name) or len(name) > 63:
            faults.append(f"metadata.name: {name}: should match: a DNS-1035 label")
        if faults:
            raise RefusedError(422, "Invalid", f'PyTorchJob.kubeflow.org "{name}" is invalid: {"; ".join(faults)}')
        if len(self.jobs) >= self.jobs_allowed:
            raise RefusedError(403, "Forbidden", f'pytorchjobs.kubeflow.org "{name}" is forbidden: exceeded quota')
        tree["metadata"].update(name=name, namespace="ml", uid=name)
        if "dryRun" not in query:
            self.posted.append(json.loads(json.dumps(tree)))
            self.jobs[name] = Job(tree, self.folder)
        return tree

    def _job(self, verb: str, name: str, query: Mapping[str, str], body: bytes) -> object:
        if not name:
            return {
                "apiVersion": JOBS,
                "kind": "PyTorchJobList",
                "metadata": {},
                "items": _selected([job.tree for job in self.jobs.values()], query),
            }
        if name not in self.jobs:
            raise RefusedError(404, "NotFound", f'pytorchjobs.kubeflow.org "{name}" not found')
        if verb == "DELETE":
            assert json.loads(body)["propagationPolicy"] == "Foreground"
            self.jobs[name].delete()
        return self.jobs[name].tree

    def _pods(self, query: Mapping[str, str], name: str) -> object:
        pods = {pod.name: pod for job in self.jobs.values() for pod in job.pods}
        if name.endswith("/log"):
            return pods[name.removesuffix("/log")].log.read_text()
        if name:
            return pods[name].as_object()
        items = _selected([pod.as_object() for pod in pods.values()], query)
        return {"apiVersion": "v1", "kind": "PodList", "metadata": {}, "items": items}


def _selected(objects: Sequence[dict[str, Any]], query: Mapping[str, str]) -> list[dict[str, Any]]:
    key, _, value = query["labelSelector"].partition("=")
    return [found for found in objects if found["metadata"].get("labels", {}).get(key) == value]


def _group(group: str) -> dict[str, Any]:
    name, _, version = group.partition("/")
    versions = {"groupVersion": group, "version": version}
    return {"name": name, "versions": [versions], "preferredVersion": versions}


def _resources(group: str, kinds: Mapping[str, str]) -> dict[str, Any]:
    verbs = ["get", "list", "create", "delete"]
    resources = [
        {"name": name, "singularName": kind.lower(), "namespaced": name not in CLUSTER_WIDE, "kind": kind, "verbs": verbs}
        for name, kind in kinds.items()
    ]
    return {"kind": "APIResourceList", "groupVersion": group, "resources": resources}


def _openapi() -> dict[str, Any]:
    """Says that the server checks fields itself, which kubectl then leaves to it."""
    group, _, version = JOBS.partition("/")
    kind = {"group": group, "version": version, "kind": "PyTorchJob"}
    patch = {"parameters": [{"name": "fieldValidation", "in": "query"}], "x-kubernetes-group-version-kind": kind, "responses": {}}
    path = f"/apis/{JOBS}/namespaces/{{namespace}}/pytorchjobs/{{name}}"
    return {"openapi": "3.0.0", "info": {"title": "Kubernetes", "version": "v1.32.0"}, "paths": {path: {"patch": patch}}}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    cluster: ClassVar[Cluster]

    def log_message(self, *_: object) -> None: ...

    def _respond(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        try:
            code, answer = 200, self.cluster.answer(self.command, self.path, body)
        except RefusedError as refused:
            status = {"status": "Failure", "reason": refused.reason, "code": refused.code, "message": refused.message}
            code, answer = refused.code, {"kind": "Status", "apiVersion": "v1", **status}
        payload = (answer if isinstance(answer, str) else json.dumps(answer)).encode()
        self.send_response(code)
        self.send_header("Content-Type", "text/plain" if isinstance(answer, str) else "application/json")
        self.send_header("Content-Length", str(len(payload)))
        self.end_headers()
        self.wfile.write(payload)

    do_GET = do_POST = do_DELETE = _respond
