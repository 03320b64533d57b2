"""A launcher's tasks tokenise, and what they made is joined here."""

from __future__ import annotations

import argparse
import json
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from cpt import jobs, preparing
from cpt.base import resolve_base
from cpt.commands import jobs as commands
from cpt.composition import compose
from cpt.contracts import JobRef, JobState, JobStatus, LauncherOptions, NoOptions, Task
from cpt.data import parts
from cpt.data.prepare import prepare
from cpt.data.sources import JsonlSource
from cpt.data.store import build_store
from cpt.data.tokenizer import bytes_tokenizer
from cpt.errors import CptError, Interrupted, ResourceError, StorageError
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


def tokenise(recipe: Recipe, launcher: LocalLauncher | None = None, name: str = "local") -> None:
    preparing.tokenise_elsewhere(recipe, resolve_base(recipe), Chosen(name, launcher or LocalLauncher(LauncherOptions()), {}))


class Slow(LocalLauncher):
    """Its tasks begin once there is a file `go`; who follows them presses Ctrl-C at once, until then."""

    def __init__(self, go: Path) -> None:
        super().__init__(LauncherOptions())
        self.go, self.submitted = go, 0

    def submit(self, task: Task) -> tuple[str, ...]:
        self.submitted += 1
        waits = ("/bin/sh", "-c", 'while [ ! -e "$0" ]; do sleep 0.05; done; exec "$@"', str(self.go))
        return super().submit(replace(task, argv=waits + task.argv))

    def statuses(self, asked: Sequence[JobRef]) -> list[JobStatus]:
        if not self.go.exists():
            raise KeyboardInterrupt
        return super().statuses(asked)


def test_the_tasks_leave_nothing_but_the_join(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = on_two_nodes(data)
    tokenise(recipe)
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
        tokenise(recipe, Spoiler(LauncherOptions()))


def test_the_same_command_follows_what_an_interrupted_one_submitted(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe, launcher = on_two_nodes(data), Slow(data.parent / "go")
    for _ in range(2):
        with pytest.raises(Interrupted, match=r"and 1 more runs on: .* cpt jobs cancel /.*/prepare-\w+ ends it"):
            tokenise(recipe, launcher)
    launcher.go.touch()
    tokenise(recipe, launcher)
    assert launcher.submitted == 1
    assert "submitted already: local " in capsys.readouterr().err
    assert [file.name for file in (data.parent / "stores").glob("prepare-*")] == []


def test_what_ended_after_the_command_was_stopped_is_only_joined(data: Path) -> None:
    recipe, launcher = on_two_nodes(data), Slow(data.parent / "go")
    with pytest.raises(Interrupted):
        tokenise(recipe, launcher)
    launcher.go.touch()
    for task in (data.parent / "stores").glob("prepare-*/task-*"):
        assert list(jobs.wait(str(task), 60))[-1].state is JobState.COMPLETED
    tokenise(recipe, launcher)
    assert launcher.submitted == 1
    assert [file.name for file in (data.parent / "stores").glob("prepare-*")] == []


def test_two_commands_at_once_submit_once(data: Path) -> None:
    class Shared(Slow):
        def __init__(self, go: Path) -> None:
            super().__init__(go)
            self.followers: set[int] = set()

        def statuses(self, asked: Sequence[JobRef]) -> list[JobStatus]:
            self.followers.add(threading.get_ident())
            if len(self.followers) == 2:
                self.go.touch()
            return LocalLauncher.statuses(self, asked)

    recipe, launcher = on_two_nodes(data), Shared(data.parent / "go")
    with ThreadPoolExecutor(2) as pool:
        for _ in pool.map(lambda _: tokenise(recipe, launcher), range(2)):
            pass
    assert launcher.submitted == 1


def test_another_launcher_does_not_do_it_a_second_time(data: Path) -> None:
    recipe, launcher = on_two_nodes(data), Slow(data.parent / "go")
    with pytest.raises(Interrupted):
        tokenise(recipe, launcher)
    with pytest.raises(ResourceError, match="tokenises this data already"):
        tokenise(recipe, launcher, "another")
    launcher.go.touch()
    tokenise(recipe, launcher)
    assert launcher.submitted == 1


def test_tasks_are_jobs_that_can_be_cancelled_and_then_begun_anew(data: Path) -> None:
    recipe, launcher = on_two_nodes(data), Slow(data.parent / "go")
    with pytest.raises(Interrupted):
        tokenise(recipe, launcher)
    views = [view for view in jobs.listed() if Path(view.run).is_relative_to(data.parent)]
    assert sorted(Path(view.run).name for view in views) == ["task-000", "task-001"]
    commands.cancel(argparse.Namespace(job=str(Path(views[0].run).parent)))
    deadline = time.monotonic() + 10
    while not all(jobs.view(view.id).state is JobState.CANCELLED for view in views):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    launcher.go.touch()
    tokenise(recipe, launcher)
    assert launcher.submitted == 2


def test_a_task_is_waited_for_as_any_job_is(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe, launcher = on_two_nodes(data), Slow(data.parent / "go")
    with pytest.raises(Interrupted):
        tokenise(recipe, launcher)
    launcher.go.touch()
    [task] = (data.parent / "stores").glob("prepare-*/task-000")
    capsys.readouterr()
    assert commands.wait(argparse.Namespace(job=str(task), timeout=60)) == 0
    [line] = capsys.readouterr().out.splitlines()
    assert line.endswith(f"completed (exit code 0), - steps, {task}")


def test_a_submission_that_was_cut_off_is_not_made_again(data: Path) -> None:
    class Cut(LocalLauncher):
        def submit(self, task: Task) -> tuple[str, ...]:
            raise KeyboardInterrupt

    recipe = on_two_nodes(data)
    with pytest.raises(KeyboardInterrupt):
        tokenise(recipe, Cut(LauncherOptions()))
    with pytest.raises(StorageError, match=r"prepare-\w+: was cut off before local had answered"):
        tokenise(recipe)


def test_a_launcher_that_is_silent_for_a_while_ends_nothing(data: Path) -> None:
    class Silent(LocalLauncher):
        asked = 0

        def statuses(self, asked: Sequence[JobRef]) -> list[JobStatus]:
            self.asked += 1
            if self.asked in (1, 3):
                raise ResourceError("squeue", "", "did not answer", "")
            return super().statuses(asked)

    recipe = on_two_nodes(data)
    tokenise(recipe, Silent(LauncherOptions()))


def test_who_is_late_finds_that_another_has_joined_the_store(data: Path) -> None:
    class Late(LocalLauncher):
        """Answers when all is done, joined and tidied up by another command; then it has forgotten its jobs."""

        def statuses(self, asked: Sequence[JobRef]) -> list[JobStatus]:
            tokenise(recipe)
            prepare(recipe, resolve_base(recipe).folder)
            return [JobStatus(JobState.UNKNOWN) for _ in asked]

    recipe = on_two_nodes(data)
    tokenise(recipe, Late(LauncherOptions()))


def test_what_the_environment_gave_is_for_its_owners_eyes(data: Path) -> None:
    recipe, launcher = on_two_nodes(data), Slow(data.parent / "go")
    with pytest.raises(Interrupted):
        tokenise(recipe, launcher)
    [file] = (data.parent / "stores").glob("prepare-*/shards.json")
    assert file.stat().st_mode & 0o077 == 0
    launcher.go.touch()
    tokenise(recipe, launcher)
