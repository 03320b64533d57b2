"""The sky program: started by argv, its errors in its own words."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from typing import Any

from cpt.errors import Fault, ResourceError

PROGRAM = "sky"
_COLOUR = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def run(*argv: str) -> str:
    """What `sky ARGV` prints on stdout, without colours.

    Raises:
        ResourceError: It failed, or is not there.
    """
    program = shutil.which(PROGRAM)
    if program is None:
        raise ResourceError(missing())
    done = subprocess.run([program, *argv], capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)  # noqa: S603
    if done.returncode:
        words = _COLOUR.sub("", done.stderr or done.stdout).split()
        raise ResourceError(Fault("launcher", "skypilot", " ".join(words) or "sky failed without a word"))
    return _COLOUR.sub("", done.stdout)


def jobs() -> list[dict[str, Any]]:
    """Every managed job of this user, as `sky jobs queue` knows it."""
    printed = run("jobs", "queue", "--all", "--output=json")
    found: list[dict[str, Any]] = json.loads(printed[max(printed.find("["), 0) :] or "[]")
    return found


def missing() -> Fault:
    """What to say where there is no sky."""
    cure = "install it, as with pipx install 'skypilot[CLOUD]', and run sky check"
    return Fault("launcher", "skypilot", "the program sky is not on PATH", cure)
