"""Values that a stranger's recipe may hold, and whether any of them ran."""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

import yaml

MARK = "cpt-hostile"
HOSTILE = f"{MARK} ' \" \\ # {{{{x}}}} ${{HOME}} `: > ran` $(: > ran)\n: > ran\n#SBATCH --wrap=ran\n- ran: &ran !!x"
"""Would make a file `ran`, open a directive or change a document, wherever text is pasted instead of quoted."""
STUBS = "command_not_found_handle() { return 0; }\n"


def scripts_that_break(files: Mapping[str, str], folder: Path) -> list[str]:
    """Names of the shell scripts among `files` that no shell can read, or that run a part of `HOSTILE`.

    Each is run under `folder`, where every program that it calls by name does nothing.
    """
    scripts = [(name, text) for name, text in files.items() if text.startswith("#!") and "sh" in text.partition("\n")[0]]
    return [name for number, (name, text) in enumerate(scripts) if not _is_safe(text, folder / f"script-{number}")]


def documents_that_break(files: Mapping[str, str]) -> list[str]:
    """Names of the JSON and YAML documents among `files` that name `HOSTILE` without holding it as one value."""
    return [name for name, text in files.items() if MARK in text and _is_document(name) and not _holds_it(name, text)]


def _is_document(name: str) -> bool:
    return name.endswith((".json", ".yaml", ".yml"))


def _holds_it(name: str, text: str) -> bool:
    try:
        trees = [json.loads(text)] if name.endswith(".json") else list(yaml.safe_load_all(text))
    except (ValueError, yaml.YAMLError):
        return False
    leaves = [leaf for tree in trees for leaf in _leaves(tree) if MARK in leaf]
    readings = (str, _as_argv, _as_kubelet)
    return bool(leaves) and all(any(HOSTILE in read(leaf) for read in readings) for leaf in leaves)


def _as_argv(command: str) -> str:
    """The words of a shell command, quotes resolved; empty where it is none."""
    try:
        return " ".join(shlex.split(command))
    except ValueError:
        return ""


def _as_kubelet(word: str) -> str:
    """A word of a container's command, in which `$$` is a dollar sign."""
    return word.replace("$$", "$")


def _leaves(tree: object) -> Iterator[str]:
    if isinstance(tree, dict):
        for key, value in tree.items():
            yield from _leaves(key)
            yield from _leaves(value)
    elif isinstance(tree, list):
        for value in tree:
            yield from _leaves(value)
    elif isinstance(tree, str):
        yield tree


def _is_safe(script: str, place: Path) -> bool:
    (place / "bin").mkdir(parents=True)
    (place / "stubs").write_text(STUBS)
    (place / "script").write_text(script)
    env = {"BASH_ENV": "stubs", "PATH": "bin", "HOME": str(place)}
    if _bash(place, env, "-n", "script"):
        return False
    _bash(place, env, "script")
    return not (place / "ran").exists()


def _bash(place: Path, env: Mapping[str, str], *words: str) -> int:
    bash = shutil.which("bash")
    assert bash, "the suite reads rendered scripts with bash"
    return subprocess.run([bash, *words], cwd=place, env=env, capture_output=True, timeout=60, check=False).returncode  # noqa: S603
