"""The driver: what it starts, how many at once, what it does about failures, stops, and members that others still run."""

from __future__ import annotations

import os
import signal
import threading
import time

import pytest
from fake_runner import FakeRunner, Seen

from cpt.contracts import JobRef, JobState, JobStatus, NoOptions, Sweeper, Trial
from cpt.errors import EXIT_OURS, EXIT_USER, Interrupted, Preempted, ResourceError
from cpt.sweeps import table
from cpt.sweeps.driver import Driver
from cpt.sweeps.members import Member
from cpt.sweeps.roles import Started
from cpt.sweeps.sweep import Sweep

GRID = ("optim.lr=1e-4,1e-3,1e-2", "run.seed=1,2")


def drive(sweep: Sweep, runner, seen, parallel: int | None = None) -> None:
    runner.parallel = parallel or runner.parallel
    Driver(sweep, runner, seen).run()


def states(sweep: Sweep) -> list[str]:
    return [member.state.value for member in sweep.members]


def test_all_members_run_as_many_at_once_as_allowed(opened, runner, seen) -> None:
    sweep = opened(*GRID)
    drive(sweep, runner, seen)
    assert states(sweep) == ["completed"] * 6
    assert runner.started == [member.label for member in sweep.members]
    assert runner.most_at_once == 2
    assert sorted(label for label, _ in seen.ends) == sorted(runner.started)
    assert seen.reports == 1
    assert sweep.metric == "validation/domain/loss"
    assert sweep.members[2].record.after(sweep.metric) == pytest.approx(2.0)


def test_a_command_may_ask_for_more_or_fewer_at_once(opened, runner, seen) -> None:
    drive(opened(*GRID), runner, seen, parallel=1)
    assert runner.most_at_once == 1


def test_done_members_are_not_run_again_and_a_grid_may_grow(opened, runner, seen) -> None:
    drive(opened(*GRID), runner, seen)
    runner.started.clear()
    drive(opened(*GRID), runner, seen)
    assert runner.started == []
    drive(opened("optim.lr=1e-4,1e-3,1e-2,2e-2", "run.seed=1,2"), runner, seen)
    assert runner.started == ["optim.lr=0.02,run.seed=1", "optim.lr=0.02,run.seed=2"]


def test_a_done_member_of_another_recipe_is_run_again(opened, runner, seen) -> None:
    """It is for `submit` to say that its identity is another one, or that it has more steps to go."""
    drive(opened("optim.lr=1e-4,1e-3"), runner, seen)
    runner.started.clear()
    drive(opened("optim.lr=1e-4,1e-3", "train.max_steps=101"), runner, seen)
    assert len(runner.started) == 2


def test_a_member_that_fails_does_not_stop_the_rest_and_is_run_by_the_next_command(opened, runner, seen) -> None:
    bad = "optim.lr=0.0001,run.seed=2"
    runner.fails = {bad: [EXIT_USER]}
    sweep = opened(*GRID)
    drive(sweep, runner, seen)
    assert states(sweep) == ["completed", "failed", *["completed"] * 4]
    failed = sweep.members[1]
    assert failed.exit_code == EXIT_USER
    assert failed.error == ("optim.lr: too large: it must be smaller. Lower it",)
    runner.started.clear()
    again = opened(*GRID)
    drive(again, runner, seen)
    assert runner.started == [bad]
    assert states(again) == ["completed"] * 6


def test_a_member_that_cannot_be_started_is_a_failed_one(opened, runner, seen) -> None:
    sweep = opened(*GRID)
    runner.refused = {sweep.members[0].label}
    drive(sweep, runner, seen)
    assert states(sweep) == ["failed", *["completed"] * 5]
    assert (sweep.members[0].exit_code, sweep.members[0].error) == (EXIT_USER, ("data.train: gone.jsonl: is not there.",))


def test_what_was_killed_begins_again_where_it_stopped_but_not_for_ever(opened, runner, seen) -> None:
    sweep = opened(*GRID)
    once, always = sweep.members[0].label, sweep.members[1].label
    runner.fails = {once: [EXIT_OURS], always: [EXIT_OURS] * 9}
    drive(sweep, runner, seen)
    assert states(sweep) == ["completed", "failed", *["completed"] * 4]
    assert runner.started.count(once) == 2
    assert runner.started.count(always) == runner.starts
    assert list(sweep.members[0].record.losses["train/loss"]) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(("number", "error"), [(signal.SIGINT, Interrupted), (signal.SIGTERM, Preempted)])
def test_told_to_stop_it_has_its_members_commit_and_the_next_command_goes_on(opened, runner, seen, number, error) -> None:
    runner.pause_s = 0.1
    sweep = opened(*GRID)
    threading.Timer(0.6, lambda: os.kill(os.getpid(), number)).start()
    with pytest.raises(error, match="of 6 members done"):
        drive(sweep, runner, seen)
    assert all(process.poll() is not None for process in runner.processes.values())
    assert set(states(sweep)) <= {"waiting", "completed"}
    runner.pause_s, begun = 0.0, list(runner.started)
    again = opened(*GRID)
    drive(again, runner, seen)
    assert states(again) == ["completed"] * 6
    assert all(list(member.record.losses["train/loss"]) == [0, 1, 2, 3, 4] for member in again.members)
    assert begun


def test_members_that_queue_elsewhere_go_on_without_it_and_are_found_again(opened, runner, seen) -> None:
    runner.queues, runner.parallel, runner.pause_s = True, None, 0.2
    sweep = opened(*GRID)
    threading.Timer(0.8, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
    with pytest.raises(Interrupted, match="6 go on where they are"):
        drive(sweep, runner, seen)
    assert len(runner.started) == 6
    assert [process.poll() for process in runner.processes.values()] == [None] * 6
    again = opened(*GRID)
    drive(again, runner, seen)
    assert len(runner.started) == 6
    assert states(again) == ["completed"] * 6


def test_a_queue_that_throttles_is_handed_all_members_of_a_grid_at_once(opened, runner, seen) -> None:
    runner.queues = runner.throttles = True
    drive(opened(*GRID), runner, seen, parallel=2)
    assert runner.batches == [6]


def test_one_that_does_not_throttle_is_handed_no_more_than_may_run_at_once(opened, runner, seen) -> None:
    runner.queues = True
    drive(opened(*GRID), runner, seen, parallel=2)
    assert max(runner.batches) == runner.most_at_once == 2


class Halving(Sweeper):
    """Proposes lr 1e-3 and then what is worse, and gives up what is worse than another at the same step."""

    takes_intervals = True
    size = 3  # type: ignore[assignment]

    def propose(self, trials):
        return {"optim.lr": f"{10.0 ** -(3 + len(trials)):g}"} if len(trials) < self.size else None

    def should_prune(self, trial: Trial, trials) -> bool:
        step = max(trial.reports)
        others = [other.reports[step] for other in trials if step in other.reports and other.values != trial.values]
        return step >= 2 and bool(others) and trial.reports[step] > min(others) + 0.1


@pytest.fixture
def halving(monkeypatch: pytest.MonkeyPatch) -> tuple[str, ...]:
    monkeypatch.setattr("cpt.plugins.load", lambda *_: (Halving, NoOptions()))
    return ("sweeper=random", "optim.lr=tag(log,interval(1e-6,1e-1))", "sched.min_lr=1e-8")


def test_a_member_that_the_sweeper_gives_up_is_stopped_and_stays_pruned(opened, runner, seen, halving) -> None:
    runner.pause_s, runner.steps = 0.05, 12
    sweep = opened(*halving)
    assert sweep.members == []
    drive(sweep, runner, seen, parallel=1)
    assert states(sweep) == ["completed", "pruned", "pruned"]
    assert [member.values["optim.lr"] for member in sweep.members] == ["0.001", "0.0001", "1e-05"]
    assert all(2 <= member.record.steps < 12 for member in sweep.members[1:])
    runner.started.clear()
    again = opened(*halving)
    drive(again, runner, seen)
    assert states(again) == ["completed", "pruned", "pruned"]
    assert runner.started == []


def test_a_sweep_that_looks_at_results_goes_on_with_what_was_drawn(opened, runner, seen, halving) -> None:
    first = opened(*halving)
    member = first.propose()
    assert member is not None
    again = opened(*halving)
    assert [other.label for other in again.members] == [member.label]
    drive(again, runner, seen, parallel=1)
    assert runner.started[0] == member.label
    assert len(again.members) == 3


def test_a_drawn_member_that_cannot_be_composed_has_failed_in_every_later_command_too(opened, runner, seen, halving, monkeypatch) -> None:
    monkeypatch.setattr(Halving, "propose", lambda _, trials: {"optim.lr": ("1e-4", "7", "1e-3")[len(trials)]} if len(trials) < 3 else None)
    drive(opened(*halving), runner, seen, parallel=1)
    again = opened(*halving)
    assert [member.state.value for member in again.members] == ["completed", "failed", "completed"]
    drive(again, runner, seen, parallel=1)
    assert states(again) == ["completed", "failed", "completed"]
    assert "optim.lr" in again.members[1].error[0]


def test_it_leaves_the_signals_as_they_were(opened, runner, seen) -> None:
    before = signal.getsignal(signal.SIGINT)
    drive(opened("optim.lr=1e-4,1e-3"), runner, seen)
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.parametrize("queues", [False, True])
def test_told_to_stop_while_it_prepares_it_stops_at_once(opened, runner, seen, queues: bool) -> None:
    runner.queues = runner.throttles = queues
    sweep, begun = opened(*GRID), time.monotonic()

    def tokenise_for_long(member) -> None:
        if member is sweep.members[1]:
            threading.Timer(0.2, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
            time.sleep(30)

    runner.before_preparing = tokenise_for_long
    with pytest.raises(Interrupted):
        drive(sweep, runner, seen)
    assert time.monotonic() - begun < 10
    assert seen.reports == 1
    assert {member.state.value for member in sweep.members} == {"waiting"}


def test_told_to_stop_between_two_submissions_it_makes_no_more(opened, runner, seen, monkeypatch) -> None:
    runner.queues = runner.throttles = True
    start = type(runner)._start
    monkeypatch.setattr(type(runner), "_start", lambda self, member: os.kill(os.getpid(), signal.SIGTERM) or start(self, member))
    sweep = opened(*GRID)
    with pytest.raises(Preempted, match="1 go on where they are"):
        drive(sweep, runner, seen)
    assert runner.started == [sweep.members[0].label]


def test_a_given_up_member_that_could_not_be_stopped_is_told_again(opened, runner, seen, halving, capsys) -> None:
    runner.pause_s, runner.steps, runner.deaf = 0.1, 20, 3
    sweep = opened(*halving)
    drive(sweep, runner, seen, parallel=1)
    assert states(sweep) == ["completed", "pruned", "pruned"]
    assert sweep.members[1].record.steps < 20
    assert capsys.readouterr().err.count("cannot be stopped yet") == 3


def test_a_given_up_member_whose_job_outlived_the_command_is_stopped_by_the_next(opened, runner, seen, halving, monkeypatch) -> None:
    runner.queues = True
    first = opened(*halving)
    good, bad = first.propose(), first.propose()
    assert good
    assert bad
    runner.pause_s, runner.steps = 0.2, 40
    list(runner.start([bad]))
    first.prune(bad)  # and killed before it could tell the job
    monkeypatch.setattr(Halving, "should_prune", lambda *_: False)
    again = opened(*halving)
    runner.pause_s, runner.steps = 0.001, 4
    drive(again, runner, seen)
    assert states(again)[:2] == ["completed", "pruned"]
    assert runner.processes[bad.label].poll() == 75
    assert again.members[1].record.steps < 40


@pytest.mark.parametrize(("patience_s", "state"), [(900.0, "completed"), (0.0, "failed")])
def test_results_that_cannot_be_had_now_are_asked_for_again_but_not_for_ever(opened, runner, seen, monkeypatch, patience_s, state) -> None:
    sweep, refusals = opened("optim.lr=1e-4,1e-3"), 3

    def collect(member: Member) -> None:
        nonlocal refusals
        if member is sweep.members[0] and refusals:
            refusals -= 1
            raise ResourceError("s3://engine", "", "does not answer")

    monkeypatch.setattr("cpt.sweeps.driver.PATIENCE_S", patience_s)
    monkeypatch.setattr(runner, "collect", collect)
    drive(sweep, runner, seen)
    assert states(sweep) == [state, "completed"]
    assert sorted(seen.ends) == sorted((member.label, member.state.value) for member in sweep.members)


class Standing(FakeRunner):
    """A queue in which nothing moves."""

    def _start(self, member: Member) -> Started:
        member.run.local.mkdir(parents=True, exist_ok=True)
        return JobRef(member.label, member.label, "")

    def adopt(self, members):
        return [JobRef(member.label, member.label, "") for member in members]

    def _status(self, job: JobRef) -> JobStatus:
        return JobStatus(JobState.QUEUED)


@pytest.mark.long
def test_a_thousand_members_that_wait_are_one_question_and_little_work(opened, seen) -> None:
    axes = ("optim.lr=1e-4,1e-3", "train.max_steps=range(1,501)")
    rounds = 0

    class Looking(Seen):
        def looked(self, sweep: Sweep) -> None:
            nonlocal rounds, began
            table.best(sweep)
            rounds += 1
            began = time.process_time() if rounds == 1 else began
            if rounds == 11:
                os.kill(os.getpid(), signal.SIGINT)

    sweep, runner, began = opened(*axes), Standing(queues=True, throttles=True, parallel=None), 0.0
    with pytest.raises(Interrupted, match="1000 go on where they are"):
        drive(sweep, runner, Looking())
    assert time.process_time() - began < 2.0
    assert set(runner.asked) == {1000}
    assert len(runner.asked) == 11
