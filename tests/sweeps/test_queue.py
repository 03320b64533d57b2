"""Through a launcher that queues: members that need the same are one array, on real processes."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from command import write_domain
from runs import QUICK

from cpt import plugins, storage
from cpt.contracts import JobRef, LauncherOptions, Task
from cpt.errors import ResourceError
from cpt.launch.local import LocalLauncher
from cpt.order import Order
from cpt.resources import Chosen
from cpt.rundir import RunDirectory
from cpt.sweeps.driver import Driver
from cpt.sweeps.run import LOOKED_AT, at_once
from cpt.sweeps.runner import QueueRunner, RecipeRunner, make_runner


@pytest.fixture
def words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[str, ...]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(QueueRunner, "poll_s", 0.1)
    write_domain(tmp_path)
    return (*QUICK, "train.max_steps=1", "eval.max_tokens=0", "logger=[]", "train.validate_every=null")


def runner(sweep, parallel: int | None = None) -> QueueRunner:
    """Arrays of the local launcher, which queues what exceeds `parallel` as a scheduler does."""
    recipes = [member.composed.recipe for member in sweep.members]
    return QueueRunner(Chosen("local", LocalLauncher(LauncherOptions()), {}), RunDirectory.at(sweep.location), recipes, parallel)


def test_a_grid_is_one_array_whose_jobs_its_runs_record(opened, seen, words, tmp_path: Path) -> None:
    sweep = opened(*words, "optim.lr=1e-3,1e-4")
    Driver(sweep, runner(sweep, parallel=2), seen).run()
    assert [member.state.value for member in sweep.members] == ["completed", "completed"]
    (array,) = (tmp_path / "s/jobs").iterdir()
    assert json.loads((array / "members.json").read_text()) == [member.run.uri() for member in sweep.members]
    jobs = [(member.run.manifest() or {})["job"] for member in sweep.members]
    assert [job["folder"] for job in jobs] == [str(array)] * 2
    assert [job["id"].rpartition("/")[2] for job in jobs] == ["0", "1"]
    again = opened(*words, "optim.lr=1e-3,1e-4")
    assert [member.state.value for member in again.members] == ["completed", "completed"]


class Elsewhere(LocalLauncher):
    """Starts the agents where nothing of the submitting machine is to be seen but what they were told."""

    def submit(self, task: Task) -> tuple[str, ...]:
        hidden = {"XDG_CACHE_HOME": str(task.folder.parent / "elsewhere"), "HOME": str(task.folder.parent / "elsewhere")}
        assert [word for word in task.argv[1:] if word.startswith("/")] == []
        return super().submit(replace(task, env={**task.env, **hidden}))


@pytest.mark.long
def test_an_array_at_a_url_needs_nothing_of_this_machine(opened, seen, words, s3: str) -> None:
    sweep = opened(*words, f"run.output={s3}/o", f"data.store={s3}/store", "optim.lr=1e-3,1e-4")
    recipes = [member.composed.recipe for member in sweep.members]
    place = RunDirectory(sweep.output, sweep.name)
    Driver(sweep, QueueRunner(Chosen("local", Elsewhere(LauncherOptions()), {}), place, recipes, 2), seen).run()
    assert [member.state.value for member in sweep.members] == ["completed", "completed"]
    (array,) = storage.list_names(place.uri("jobs"))
    assert json.loads(storage.read_bytes(place.uri("jobs", array, "members.json"))) == [member.run.uri() for member in sweep.members]
    assert all(member.run.uri().startswith(s3) for member in sweep.members)


def test_members_of_two_shapes_are_two_submissions_in_a_rehearsal(opened, words, tmp_path: Path) -> None:
    sweep = opened(*words, "cluster.processes=1,2", "optim.lr=1e-3,1e-4")
    written = runner(sweep).rehearse(sweep.members)
    assert len(written) == 2
    assert all((Path(folder) / "command.sh").exists() for folder in written)
    for folder in map(Path, written):
        (named,) = (json.loads(file.read_text()) for file in folder.glob("by-hand/s/jobs/*/members.json"))
        ordered = [file.relative_to(folder / "by-hand").parent.parent for file in folder.glob("by-hand/s/*/job/order.json")]
        assert sorted(named) == sorted(str(tmp_path / name) for name in ordered)
        assert len(named) == 2
    assert not list((tmp_path / "s").rglob("manifest.json"))


def test_a_job_that_still_has_a_member_is_found_again(opened, words) -> None:
    sweep = opened(*words, "train.max_steps=3000", "checkpoint.every=3000", "optim.lr=1e-3,1e-4")
    queue = runner(sweep, parallel=1)
    for member in sweep.members:
        queue.prepare(member)
    started = [job for group in queue.start(sweep.members) for _, job in group]
    assert runner(sweep).adopt(sweep.members) == started
    for job in started:
        queue.stop(job)  # type: ignore[arg-type]


class OtherEngine(LocalLauncher):
    """Trains nothing, and says where its checkpoint is; a recipe with a rate of 1e-3 is too much for it."""

    takes_recipe = True

    def submit(self, task: Task) -> tuple[str, ...]:
        assert task.recipe is not None
        code = "import sys; sys.exit(int(sys.argv[1] == '0.001'))"
        return super().submit(replace(task, argv=(sys.executable, "-c", code, str(task.recipe["optim"]["lr"]))))  # type: ignore[index]

    def results(self, job: JobRef) -> dict[str, object]:
        return {"checkpoint_s3_bucket": f"s3://engine/{job.name}"}


class Counting(RecipeRunner):
    """Notes whom it was handed."""

    handed = 0

    def start(self, members):
        self.handed += len(members)
        yield from super().start(members)


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Chosen:
    """`OtherEngine`, as if it were installed."""

    def load(kind, *rest, load=plugins.load):
        return (OtherEngine, LauncherOptions()) if kind == "launchers" else load(kind, *rest)

    monkeypatch.setattr("cpt.plugins.load", load)
    return Chosen("engine", OtherEngine(LauncherOptions()), {})


def test_members_of_another_engine_are_jobs_of_their_own_whose_results_are_taken(opened, seen, words, engine: Chosen) -> None:
    for handed in (3, 1):
        sweep = opened(*words, "optim.lr=1e-3,1e-4,2e-4")
        counting = Counting(engine, Path(sweep.location), [member.composed.recipe for member in sweep.members], None)
        Driver(sweep, counting, seen).run()
        assert [member.state.value for member in sweep.members] == ["failed", "completed", "completed"]
        assert counting.handed == handed
    assert (sweep.members[1].run.manifest() or {})["checkpoint_s3_bucket"].startswith("s3://engine/s-optim-lr")


class Hiccuping(LocalLauncher):
    """Does not answer every second question."""

    questions = 0

    def statuses(self, jobs):
        Hiccuping.questions += 1
        if Hiccuping.questions % 2 == 0:
            raise ResourceError("squeue", "", "timed out")
        return super().statuses(jobs)


def test_a_scheduler_that_does_not_answer_for_a_while_ends_nothing(opened, seen, words, capsys) -> None:
    sweep = opened(*words, "optim.lr=1e-3,1e-4")
    recipes = [member.composed.recipe for member in sweep.members]
    chosen = Chosen("local", Hiccuping(LauncherOptions()), {})
    Driver(sweep, QueueRunner(chosen, RunDirectory.at(sweep.location), recipes, 2), seen).run()
    assert [member.state.value for member in sweep.members] == ["completed", "completed"]
    assert Hiccuping.questions > 3
    assert "asking again for 15 minutes" in capsys.readouterr().err


def test_jobs_that_were_submitted_are_found_though_their_scheduler_does_not_answer(opened, words, monkeypatch) -> None:
    sweep = opened(*words, "train.max_steps=3000", "checkpoint.every=3000", "optim.lr=1e-3,1e-4")
    queue = runner(sweep, parallel=1)
    for member in sweep.members:
        queue.prepare(member)
    started = [job for group in queue.start(sweep.members) for _, job in group]
    monkeypatch.setattr(LocalLauncher, "statuses", Hiccuping.statuses)
    monkeypatch.setattr(Hiccuping, "questions", 1)
    assert runner(sweep).adopt(sweep.members) == started
    for job in started:
        queue.stop(job)


class Slow(OtherEngine):
    """Notes how many of its jobs ran at once."""

    most = 0

    def submit(self, task: Task) -> tuple[str, ...]:
        return LocalLauncher.submit(self, replace(task, argv=(sys.executable, "-c", "import time; time.sleep(0.7)")))

    def statuses(self, jobs):
        found = super().statuses(jobs)
        Slow.most = max(Slow.most, sum(not status.state.ended for status in found))
        return found


def test_another_engine_is_handed_no_more_members_than_may_run_at_once(opened, seen, words, engine: Chosen) -> None:
    sweep = opened(*words, "optim.lr=1e-3,1e-4,2e-4,3e-4,4e-4")
    recipes = [member.composed.recipe for member in sweep.members]
    Driver(sweep, make_runner(Chosen("engine", Slow(LauncherOptions()), {}), RunDirectory.at(sweep.location), recipes, 2), seen).run()
    assert [member.state.value for member in sweep.members] == ["completed"] * 5
    assert Slow.most == 2


@pytest.mark.parametrize(("shapes", "throttles"), [("cluster.processes=1", True), ("cluster.processes=1,2", False)])
def test_several_arrays_do_not_each_take_the_whole_limit(opened, words, shapes: str, throttles: bool) -> None:
    assert runner(opened(*words, shapes, "optim.lr=1e-3,1e-4"), parallel=2).throttles is throttles


def test_a_sweeper_that_looks_at_results_is_not_handed_everything_at_once(opened, words, capsys) -> None:
    sweep = opened(*words, "optim.lr=1e-3,1e-4")
    queue, here = Chosen("slurm", LocalLauncher(LauncherOptions()), {}), Chosen("local", LocalLauncher(LauncherOptions()), {})
    assert at_once(sweep, queue) is None
    sweep.sweeper.looks_at_results = True
    assert (at_once(sweep, queue), at_once(sweep, here)) == (LOOKED_AT, None)
    assert "8 members at once" in capsys.readouterr().err


class Refusing(LocalLauncher):
    """Takes nothing."""

    def check(self, task: Task) -> None:
        raise ResourceError("launcher.options.queue", "gone", "is not there")


def test_an_array_that_is_refused_leaves_its_runs_as_they_were(opened, seen, words) -> None:
    sweep = opened(*words, "optim.lr=1e-3,1e-4")
    recipes = [member.composed.recipe for member in sweep.members]
    Driver(sweep, QueueRunner(Chosen("slurm", Refusing(LauncherOptions()), {}), RunDirectory.at(sweep.location), recipes, 2), seen).run()
    assert {(member.state.value, *member.error) for member in sweep.members} == {("failed", "launcher.options.queue: gone: is not there.")}
    assert [member.run.manifest() for member in sweep.members] == [None, None]


class Closed(Refusing):
    """A queue that only refuses once it is given something."""

    def check(self, task: Task) -> None: ...

    def submit(self, task: Task) -> tuple[str, ...]:
        raise ResourceError("queue", task.name, "is closed")


def test_an_array_that_is_refused_at_the_queue_is_not_queued(opened, seen, words) -> None:
    sweep = opened(*words, "optim.lr=1e-3,1e-4")
    recipes = [member.composed.recipe for member in sweep.members]
    Driver(sweep, QueueRunner(Chosen("slurm", Closed(LauncherOptions()), {}), RunDirectory.at(sweep.location), recipes, 2), seen).run()
    assert {member.state.value for member in sweep.members} == {"failed"}
    assert [member.run.manifest() for member in sweep.members] == [None, None]


def test_a_member_that_is_alone_is_a_job_of_its_own_whose_order_is_written_once(opened, words, monkeypatch) -> None:
    sweep = opened(*words, "optim.lr=1e-3")
    queue, written, write = runner(sweep), [], Order.write
    monkeypatch.setattr(Order, "write", lambda order, run: written.append(run.name) or write(order, run))
    queue.prepare(sweep.members[0])
    ((_, job),) = next(iter(queue.start(sweep.members)))
    assert written == [sweep.members[0].run.name]
    assert job.folder == str(sweep.members[0].run.job_folder)
    queue.stop(job)
