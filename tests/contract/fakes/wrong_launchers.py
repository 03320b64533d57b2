"""A launcher that keeps its contract, and some that do not: each with one defect, and the test that must catch it."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from cpt.contracts import JobRef, JobState, JobStatus, Launcher, LauncherOptions, Task
from cpt.recipe.frozen import Frozen
from cpt.testing import LauncherContract

RUN = '"$@" > "$0.out" 2>&1; echo $? > "$0.code"; mv "$0.code" "$0.exit"'


class Options(LauncherOptions):
    note: str | None = None


class Good(Launcher):
    """Processes of this machine. A job's id is its number in the task's folder and its process group."""

    caught_by = ""
    Options = Options
    options: Options
    submits = False

    def render(self, task: Task) -> Mapping[str, str]:
        exports = "".join(f"export {name}={shlex.quote(value)}\n" for name, value in task.env.items())
        script = f"#!/bin/bash\n{exports}exec {shlex.join(task.argv)}\n"
        return {"job.sh": script, "job.json": json.dumps({"argv": task.argv, "env": dict(task.env), "note": self.options.note})}

    def submit(self, task: Task) -> tuple[str, ...]:
        return tuple(f"{member}-{self.start(task, member)}" for member in range(task.members))

    def start(self, task: Task, member: int) -> int:
        """The process group of a member's nodes."""
        group = 0
        for node in range(task.nodes):
            (task.folder / f"{member}.{node}.out").touch()
            argv = ["sh", "-c", RUN, str(task.folder / f"{member}.{node}"), *task.argv]
            process = subprocess.Popen(argv, env=os.environ | self.env(task, member, node), process_group=group)
            group = group or process.pid
        return group

    def env(self, task: Task, member: int, node: int) -> dict[str, str]:
        place = {"NODE_RANK": str(node), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29500", "CPT_MEMBER": str(member)}
        return {**task.env, **place}

    def status(self, job: JobRef) -> JobStatus:
        codes = [int(file.read_text()) for file in self.files(job, "exit")]
        if (Path(job.folder) / f"{job.id}.cancelled").exists():
            return JobStatus(JobState.CANCELLED)
        if not self.files(job, "out"):
            return JobStatus(JobState.UNKNOWN)
        if len(codes) < len(self.files(job, "out")):
            return JobStatus(JobState.RUNNING)
        return self.ended(max(codes))

    def ended(self, code: int) -> JobStatus:
        return JobStatus(JobState.FAILED if code else JobState.COMPLETED, exit_code=code)

    def cancel(self, job: JobRef) -> None:
        if not self.status(job).state.ended:
            (Path(job.folder) / f"{job.id}.cancelled").touch()
            os.killpg(int(job.id.partition("-")[2]), signal.SIGTERM)

    def logs(self, job: JobRef) -> Iterator[tuple[str, str]]:
        for file in self.files(job, "out"):
            yield from ((file.stem, line) for line in file.read_text().splitlines())

    def files(self, job: JobRef, suffix: str) -> list[Path]:
        return sorted(Path(job.folder).glob(f"{job.id.partition('-')[0]}.*.{suffix}"))


class Plain(Frozen):
    render_to: str | None = None
    note: str | None = None


class PlainOptions(Good):
    caught_by = "test_its_options_begin_as_every_launchers"
    Options = Plain  # type: ignore[assignment]


class SlowOffer(Good):
    caught_by = "test_whether_it_is_offered_here_is_found_in_no_time"

    @classmethod
    def is_offered_here(cls) -> bool:
        time.sleep(0.2)
        return False


class Outside(Good):
    caught_by = "test_files_are_texts_by_relative_name"

    def render(self, task: Task) -> Mapping[str, str]:
        return {f"../{name}": text for name, text in Good.render(self, task).items()}


class WorkingFolder(Good):
    caught_by = "test_rendering_is_a_function_of_the_task"

    def render(self, task: Task) -> Mapping[str, str]:
        return {**Good.render(self, task), "cwd": str(Path.cwd())}


class RendersToDisk(Good):
    caught_by = "test_rendering_writes_nothing"

    def render(self, task: Task) -> Mapping[str, str]:
        task.folder.mkdir(parents=True, exist_ok=True)
        return Good.render(self, task)


class Mixing(Good):
    caught_by = "test_nothing_is_remembered_from_one_task_to_the_next"
    names: tuple[str, ...] = ()

    def render(self, task: Task) -> Mapping[str, str]:
        self.names = (*self.names, *task.env)
        return {**Good.render(self, task), "names": " ".join(self.names)}


class PastedWords(Good):
    caught_by = "test_hostile_words_and_variables_stay_data"

    def render(self, task: Task) -> Mapping[str, str]:
        return {"job.sh": "#!/bin/bash\n" + " ".join(f"'{word}'" for word in task.argv) + "\n"}


class PastedVariables(Good):
    caught_by = "test_hostile_words_and_variables_stay_data"

    def render(self, task: Task) -> Mapping[str, str]:
        return {"job.yaml": "".join(f'- name: {name}\n  value: "{value}"\n' for name, value in task.env.items())}


class PastedOptions(Good):
    caught_by = "test_hostile_options_stay_data"

    def render(self, task: Task) -> Mapping[str, str]:
        return {"job.sh": f'#!/bin/bash\n#SBATCH --comment="{self.options.note}"\nexec {shlex.join(task.argv)}\n'}


class Failing(Good):
    caught_by = "test_an_unknown_job_is_unknown"

    def status(self, job: JobRef) -> JobStatus:
        status = Good.status(self, job)
        return JobStatus(JobState.FAILED) if status.state is JobState.UNKNOWN else status


class StubbornCancel(Good):
    caught_by = "test_cancelling_a_job_that_has_ended_does_nothing"

    def cancel(self, job: JobRef) -> None:
        os.killpg(int(job.id), signal.SIGTERM)


class CancelsWhatHasEnded(Good):
    caught_by = "test_cancelling_a_job_that_has_ended_does_nothing"
    submits = True

    def cancel(self, job: JobRef) -> None:
        Good.cancel(self, job)
        (Path(job.folder) / f"{job.id}.cancelled").touch()


class LeavesOutTheUnknown(Good):
    caught_by = "test_all_jobs_at_once_stand_as_each_of_them_does"

    def statuses(self, jobs: Sequence[JobRef]) -> list[JobStatus]:
        return [status for status in map(self.status, jobs) if status.state is not JobState.UNKNOWN]


class InAnyOrder(Good):
    caught_by = "test_all_jobs_at_once_stand_as_each_of_them_does"
    submits = True

    def statuses(self, jobs: Sequence[JobRef]) -> list[JobStatus]:
        return [self.status(job) for job in sorted(jobs, key=lambda job: job.id)]


class WithoutVariables(Good):
    caught_by = "test_a_job_runs_its_argv_as_given"
    submits = True

    def env(self, task: Task, member: int, node: int) -> dict[str, str]:
        return {name: value for name, value in Good.env(self, task, member, node).items() if name not in task.env}


class AlwaysWell(Good):
    caught_by = "test_a_job_that_fails_has_failed"
    submits = True

    def ended(self, code: int) -> JobStatus:
        return JobStatus(JobState.COMPLETED)


class DeafToCancel(Good):
    caught_by = "test_a_cancelled_job_ends"
    submits = True

    def cancel(self, job: JobRef) -> None:
        pass


class CountsFromOne(Good):
    caught_by = "test_members_know_their_number"
    submits = True

    def env(self, task: Task, member: int, node: int) -> dict[str, str]:
        return Good.env(self, task, member + 1, node)


class AllTheFirst(Good):
    caught_by = "test_nodes_know_their_place"
    submits = True

    def env(self, task: Task, member: int, node: int) -> dict[str, str]:
        return Good.env(self, task, member, 0)


class Suite(LauncherContract):
    plugin = Good
    nodes = 2
    patience_s = 5.0
