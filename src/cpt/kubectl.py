"""kubectl, for launchers that go by it: started by argv, its errors in its own words, with what to do where it reaches no cluster.

And the pods of a job of Kubeflow's training operator, one a node.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import yaml

from cpt.errors import Fault, ResourceError

PROGRAM = "kubectl"
REQUEST_TIMEOUT_S, PROCESS_TIMEOUT_S = 30, 300
_KLOG = re.compile(r"[EIW][0-9]{4} [0-9:.]+ +[0-9]+ ")
"""How a line begins that kubectl's libraries log beside the error itself."""
_NO_CONTEXT = re.compile(r"context .*(does not exist|was not found)|no context exists")
_NO_ANSWER = re.compile(r"[Uu]nable to connect|connection to the server|connection refused|no such host|[Tt]ime-?out|did not answer")
JOB_LABEL, KIND_LABEL, INDEX_LABEL = (f"training.kubeflow.org/{part}" for part in ("job-name", "replica-type", "replica-index"))
"""What the operator labels a job's pods with."""


class KubectlError(ResourceError):
    """kubectl refused, or is not there.

    Args:
        words: What it said.
        printed: What it had printed on stdout before.
        cure: What to do.
    """

    def __init__(self, words: str, printed: str = "", cure: str = "") -> None:
        self.words, self.printed = words, printed
        super().__init__(Fault(PROGRAM, "", words, cure))


class Kubectl:
    """kubectl, bound to a context and a namespace.

    Args:
        context: Null: the current one.
        namespace: Null: the context's.
        connect: The command that writes a context for the cluster, named where none is reached; may be empty.
    """

    def __init__(self, context: str | None, namespace: str | None, connect: str = "") -> None:
        self._connect = f"; {connect} writes a context" if connect else ""
        given = {"--context": context, "--namespace": namespace}
        self._place = [f"{flag}={value}" for flag, value in given.items() if value]

    def run(self, *argv: str, stdin: str = "") -> str:
        """What `kubectl ARGV` prints on stdout.

        Raises:
            KubectlError: It failed.
        """
        command = self._command(f"--request-timeout={REQUEST_TIMEOUT_S}s", *argv)
        try:
            done = subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=PROCESS_TIMEOUT_S, check=False)  # noqa: S603
        except subprocess.TimeoutExpired:
            raise self._error(f"did not answer within {PROCESS_TIMEOUT_S} s") from None
        if done.returncode:
            raise self._error(_words(done.stderr), done.stdout)
        return done.stdout

    def get(self, *argv: str) -> dict[str, Any]:
        """The object or list that `kubectl get ARGV` finds; empty where it is not there."""
        found: dict[str, Any] = json.loads(self.run("get", *argv, "--output=json", "--ignore-not-found") or "{}")
        return found

    def lines(self, *argv: str) -> Iterator[str]:
        """What `kubectl ARGV` prints, line by line, as far as it comes."""
        command = self._command(*argv)
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, errors="replace") as process:  # noqa: S603
            assert process.stdout
            yield from (line.rstrip("\r\n") for line in process.stdout)

    def _command(self, *argv: str) -> list[str]:
        program = shutil.which(PROGRAM)
        if program is None:
            raise KubectlError("is not on PATH", cure=f"Install it{self._connect}")
        return [program, *self._place, *argv]

    def _error(self, words: str, printed: str = "") -> KubectlError:
        cure = ""
        if _NO_CONTEXT.search(words):
            cure = f"Give launcher.options.context one of kubectl config get-contexts{self._connect}"
        elif _NO_ANSWER.search(words):
            cure = f"Look with kubectl cluster-info; launcher.options.context names another cluster{self._connect}"
        return KubectlError(words, printed, cure)


def has_current_context() -> bool:
    """Whether kubectl is here and its configuration names a current context; read without starting it."""
    return shutil.which(PROGRAM) is not None and any(map(_current_context, _configurations()))


def pods_of(kubectl: Kubectl, job: str) -> list[tuple[int, dict[str, Any]]]:
    """The pods of a PyTorchJob that are there, by node."""
    return by_node(kubectl.get("pods", f"--selector={JOB_LABEL}={job}").get("items", []))


def by_node(pods: Iterable[dict[str, Any]]) -> list[tuple[int, dict[str, Any]]]:
    """Each pod with the rank of its node: the Master's is 0, that of Worker i is i + 1."""
    return sorted(((_node_rank(pod), pod) for pod in pods), key=lambda ranked: ranked[0])


def _configurations() -> list[Path]:
    listed = os.environ.get("KUBECONFIG")
    return [Path(name) for name in listed.split(os.pathsep) if name] if listed else [Path.home() / ".kube/config"]


def _current_context(path: Path) -> str:
    try:
        tree = yaml.load(path.read_text(), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506  (a safe loader)
    except (OSError, ValueError, yaml.YAMLError):
        return ""
    return str(tree.get("current-context") or "") if isinstance(tree, dict) else ""


def _words(stderr: str) -> str:
    lines = [line.strip() for line in stderr.splitlines() if line.strip() and not _KLOG.match(line)]
    return "; ".join(lines) or "failed without a word"


def _node_rank(pod: dict[str, Any]) -> int:
    labels = pod["metadata"].get("labels", {})
    return 0 if labels.get(KIND_LABEL, "").lower() == "master" else 1 + int(labels.get(INDEX_LABEL, 0))
