"""A launcher's tasks tokenise, and what they made is joined here."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cpt import preparing
from cpt.base import resolve_base
from cpt.composition import compose
from cpt.contracts import LauncherOptions, NoOptions, Task
from cpt.data import parts
from cpt.data.prepare import prepare
from cpt.data.sources import JsonlSource
from cpt.data.store import build_store
from cpt.data.tokenizer import bytes_tokenizer
from cpt.errors import CptError
from cpt.launch.local import LocalLauncher
from cpt.recipe.schema import Recipe
from cpt.resources import Chosen

TEXTS = [f"document {number} " * (number % 9) for number in range(600)]


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(parts, "PART_BYTES", 10_000)
    monkeypatch.setattr(preparing, "POLL_S", 0.1)
    file = tmp_path / "a.jsonl"
    file.write_text("".join(json.dumps({"text": text}) + "\n" for text in TEXTS))
    return file


def on_two_nodes(data: Path) -> Recipe:
    recipe = compose(["data=jsonl", f"data.train={data}", f"data.store={data.parent}/stores", "cluster.processes=2"]).recipe
    return recipe.model_copy(update={"cluster": recipe.cluster.model_copy(update={"nodes": 2})})


def test_the_tasks_leave_nothing_but_the_join(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = on_two_nodes(data)
    preparing.tokenise_elsewhere(recipe, resolve_base(recipe), Chosen("local", LocalLauncher(LauncherOptions())))
    monkeypatch.setattr(parts, "run_members", lambda *_: pytest.fail("the tasks have done it"))
    store = prepare(recipe, resolve_base(recipe).folder).train.store
    source = JsonlSource(NoOptions())
    serial = build_store(source.documents([str(data)]), source.fingerprint([str(data)]), bytes_tokenizer(), data.parent / "serial")
    assert {file.name: file.read_bytes() for file in store.folder.iterdir()} == {
        file.name: file.read_bytes() for file in serial.folder.iterdir()
    }


def test_a_task_that_failed_says_why(data: Path) -> None:
    class Spoiler(LocalLauncher):
        def submit(self, task: Task) -> tuple[str, ...]:
            data.write_text('{"text": "another"}\n')
            return super().submit(task)

    recipe = on_two_nodes(data)
    with pytest.raises(CptError, match="has changed since it was validated"):
        preparing.tokenise_elsewhere(recipe, resolve_base(recipe), Chosen("local", Spoiler(LauncherOptions())))
