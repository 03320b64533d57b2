"""kubectl, the one way to the cluster's API: arguments by argv, answers as JSON, refusals in its own words."""

from __future__ import annotations

import json
import shutil
import subprocess
from typing import Any

from cpt.errors import Fault, ResourceError
from cpt_hyperpod.options import HyperpodOptions

TIMEOUT_S = 60


class Kubectl:
    """kubectl for one context and namespace.

    Args:
        options: Which.
    """

    def __init__(self, options: HyperpodOptions) -> None:
        context = [f"--context={options.context}"] if options.context else []
        self._arguments = [*context, f"--namespace={options.namespace}", f"--request-timeout={TIMEOUT_S}s"]
        self._where = f"kubectl {' '.join(context)}".strip()

    def run(self, *arguments: str) -> str:
        """What it prints.

        Raises:
            ResourceError: It is not installed, or refuses.
        """
        done = self.attempt(*arguments)
        if done.returncode:
            raise ResourceError.of([self._refusal(done, arguments[0])])
        return done.stdout

    def attempt(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Runs it, whatever comes of it.

        Raises:
            ResourceError: It is not installed, or does not answer.
        """
        program = shutil.which("kubectl")
        if program is None:
            raise ResourceError(
                Fault("kubectl", "", "is not on PATH", "Install it, and run hyperpod connect-cluster or aws eks update-kubeconfig")
            )
        try:
            return subprocess.run(  # noqa: S603  an argv, no shell
                [program, *self._arguments, *arguments],
                capture_output=True,
                text=True,
                errors="replace",
                timeout=2 * TIMEOUT_S,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise ResourceError(Fault(self._where, "", f"did not answer in {2 * TIMEOUT_S} s", self._cure("connection"))) from None

    def get(self, *what: str) -> dict[str, Any] | None:
        """An object, or a list of them; None where there is none."""
        text = self.run("get", *what, "--ignore-not-found", "--output=json")
        return dict(json.loads(text)) if text.strip() else None

    def may(self, verb: str, resource: str) -> bool:
        """Whether this user may do that in the namespace.

        Raises:
            ResourceError: The API cannot be asked, or has no such resource.
        """
        done = self.attempt("auth", "can-i", verb, resource)
        if "doesn't have a resource type" in done.stderr:
            raise ResourceError(
                Fault(self._where, resource, "the cluster has no such resource", "Install Kubeflow's training operator there")
            )
        if (answer := done.stdout.strip()) not in ("yes", "no"):
            raise ResourceError.of([self._refusal(done, "auth can-i")])
        return answer == "yes"

    def cluster_name(self) -> str:
        """What the kubeconfig calls the cluster that is reached; empty where there is none."""
        done = self.attempt("config", "view", "--minify", "--output=json")
        clusters = json.loads(done.stdout).get("clusters") if done.returncode == 0 else None
        return str(clusters[0]["name"]) if clusters else ""

    def _refusal(self, done: subprocess.CompletedProcess[str], command: str) -> Fault:
        words = ((done.stderr or done.stdout).strip().splitlines() or ["no reason given"])[-1]
        return Fault(self._where, command, words.removeprefix("error: "), self._cure(words))

    def _cure(self, words: str) -> str:
        if "context" in words or "connect" in words.lower() or "refused" in words:
            return "Check launcher.options.context and the network; hyperpod connect-cluster writes the kubeconfig"
        return ""
