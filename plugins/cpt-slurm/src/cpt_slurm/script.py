"""From a task to what Slurm is given: the arguments of sbatch and the text of a batch script. Pure.

What a recipe says reaches sbatch as arguments. What has to stand in the script (the task's argv, its environment, the container's
arguments) is quoted there, each on one line, whatever it holds.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path

from cpt.contracts import Task
from cpt.errors import EXIT_DONE, EXIT_PREEMPTED, EXIT_STUCK, EXIT_USER, ResourceError
from cpt_slurm.options import Container, SlurmOptions

SCRIPT, SUBMIT = "slurm.sh", "submit.sh"
_HERE = f'"$(dirname "$0")/{SCRIPT}"'
CPUS_A_GPU = 4
"""For a rank, its data and NCCL's threads, where nobody says how many: few enough for any GPU node, whose GPUs have 4 to 32 each."""
FINAL = (EXIT_DONE, EXIT_USER, EXIT_STUCK)
"""After these the same argv again is of no use; after all others the next job of a chain goes on."""
_ADDRESS = r"sed -n 's/.*NodeAddr=\([^ ]*\).*/\1/p'"
_ON_EACH_NODE = 'export NODE_RANK=$SLURM_NODEID; exec "$@"'
_MEET_ANEW = (
    'first=$(echo "$SLURM_STEP_NODELIST" | '
    r"sed 's/\[\([0-9]*\)[^]]*]/\1/g; s/,.*//'); "
    f'MASTER_ADDR=$(scontrol show node "$first" 2>/dev/null | {_ADDRESS}); '
    'export MASTER_ADDR="${MASTER_ADDR:-$first}"; '
)
"""In a step that may be started again with other nodes than the batch script knows; a container may have no scontrol."""

_FOR_THE_RUN = (
    "NODE_RANK", "MASTER_ADDR", "MASTER_PORT", "SLURM_JOB_ID", "CPT_RANK_LOGS", "CPT_JOB_LAUNCHER", "CPT_JOB_ID", "CPT_JOB_FOLDER",
)  # fmt: skip
"""Variables that enroot has to be told of."""

_BEGINNING = """\
export CPT_JOB_LAUNCHER=slurm CPT_JOB_ID=$job CPT_JOB_FOLDER=$folder
export CPT_RANK_LOGS=$folder/logs/$job
mkdir -p "$CPT_RANK_LOGS"
rm -f "$folder/exit-$job"

end() {
    echo "$1" > "$folder/exit-$job"
    exit "$1"
}"""
_GO_ON_FROM = f"""
# How the job before this one ended stands where going on is of no use.
if [ -e "$folder/exit-$before" ] && read -r code < "$folder/exit-$before"; then
    case $code in {" | ".join(map(str, FINAL))}) end "$code" ;; esac
fi"""
_RENDEZVOUS = f"""
first=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | sed -n 1p)
MASTER_ADDR=$(scontrol show node "$first" | {_ADDRESS})
MASTER_PORT=$((20000 + SLURM_JOB_ID % 5000 * 2))  # every second one: the agents take the next
export MASTER_ADDR MASTER_PORT

trap ended=143 TERM  # signals are for the run; this shell lives on to write down how it ended
trap : USR1
[ ! -e "$folder/cancel-$job" ] || end {EXIT_PREEMPTED}
"""
_END_OF_STEP = """\
code=$?
[ "$code" != 0 ] || code=${ended:-0}  # of a step that it has stopped waiting for, srun says 0
echo "$code" > "$folder/exit-$job"  # before looking for what others wrote there: NFS then looks too"""
_REQUEUE = f"""\
if [ "$code" = {EXIT_PREEMPTED} ] && [ ! -e "$folder/cancel-$job" ]; then
    scontrol requeue Incomplete "$SLURM_JOB_ID"  # does nothing to a job that scancel has ended
fi"""


def files(task: Task, options: SlurmOptions, site: Path | None) -> dict[str, str]:
    """The batch script, and a script that submits it as the launcher does."""
    return {SCRIPT: batch_script(task, options, site), SUBMIT: _submit_script(task, options)}


def sbatch_argv(task: Task, options: SlurmOptions) -> list[str]:
    """The sbatch command for `task`, without dependencies and the script.

    Raises:
        ResourceError: The task's folder has a name that Slurm cannot write logs to.
    """
    wanted = {
        "parsable": True,
        "job-name": task.name,
        "output": f"{_log_folder(task)}/{'%j' if task.members == 1 else '%A_%a'}.log",
        "open-mode": "append",
        "array": _array(task),
        "nodes": task.nodes,
        "ntasks-per-node": 1,
        "cpus-per-task": _cpus(task, options),
        **_gpus(task, options),
        "mem": options.memory,
        "exclusive": _exclusive(options),
        "partition": options.partition,
        "account": options.account,
        "qos": options.qos,
        "time": options.time_limit,
        "constraint": options.constraint,
        "reservation": options.reservation,
        "signal": f"USR1@{options.signal_s}",
        "requeue": options.requeues,
        "no-requeue": not options.requeues,
    }
    return ["sbatch", *_as_arguments(wanted), *options.extra]


def dependency(task: Task, options: SlurmOptions) -> list[str]:
    """sbatch's arguments for the jobs that must have ended well before the first of `task`."""
    ids = [*task.after, *options.after]
    return [f"--dependency=afterok:{':'.join(ids)}", "--kill-on-invalid-dep=yes"] if ids else []


def next_in_chain(task: Task) -> list[str]:
    """sbatch's arguments for a job that goes on from another, but for that job's id at the end of the last.

    Of a single job that ends well Slurm cancels what would follow; an array has no such dependency, its members see for themselves.
    """
    return ["--kill-on-invalid-dep=yes", f"--dependency={'afternotok' if task.members == 1 else 'afterany'}:"]


def batch_script(task: Task, options: SlurmOptions, site: Path | None) -> str:
    """The text of the batch script.

    Raises:
        ResourceError: A variable of the task has a name that no shell takes.
    """
    lines = ["#!/bin/bash", "# Written by cpt-slurm. What it asks of Slurm goes to sbatch as arguments: see submit.sh.", ""]
    chained = options.chain > 1
    lines += ["before=$1", "set --", ""] if chained else []  # the site file may look at the arguments
    lines += [f"source {quoted(str(site))}", ""] if site else []
    lines += [f"export {_checked_name(name)}={quoted(value)}" for name, value in task.env.items()]
    lines += [f"folder={quoted(str(task.folder))}", *_identity(task, chained), _BEGINNING]
    lines += [_GO_ON_FROM] if chained else []
    lines += [_RENDEZVOUS, _srun(task, options), _END_OF_STEP]
    lines += [_REQUEUE] if options.requeues else []
    return "\n".join([*lines, 'exit "$code"', ""])


def quoted(text: str) -> str:
    """`text` as one word of bash on one line: nothing in it is expanded, and control characters are written as escapes."""
    if text.isprintable():
        return shlex.quote(text)
    return "$'" + "".join(_escaped(byte) for byte in os.fsencode(text)) + "'"


def _escaped(byte: int) -> str:
    plain = 0x20 <= byte < 0x7F and chr(byte) not in "'\\"
    return chr(byte) if plain else f"\\x{byte:02x}"


def _submit_script(task: Task, options: SlurmOptions) -> str:
    argv = sbatch_argv(task, options)
    submissions = [f"job=$({_words([*argv, *dependency(task, options)])} {_HERE})"]
    submissions += [f'job=$({_words([*argv, *next_in_chain(task)])}"$job" {_HERE} "$job")'] * (options.chain - 1)
    lines = ["#!/bin/bash", "# What cpt-slurm asks of Slurm; run by hand it submits the same.", "set -e"]
    lines += [f"mkdir -p {quoted(f'{task.folder}/logs')}", *(f'{submission}\necho "$job"' for submission in submissions)]
    return "\n".join([*lines, ""])


def _identity(task: Task, chained: bool) -> list[str]:
    """Who this job is, and who came before it in a chain, as their files and the manifest name them."""
    if task.members == 1:
        return ["job=$SLURM_JOB_ID"]
    lines = ["export CPT_MEMBER=$SLURM_ARRAY_TASK_ID", "job=${SLURM_ARRAY_JOB_ID}_$CPT_MEMBER"]
    return [*lines, "before=${before}_$CPT_MEMBER"] if chained else lines


def _srun(task: Task, options: SlurmOptions) -> str:
    """The task's argv, once on each node. Those that end first must not have the others killed: they may be committing."""
    container = options.container
    python = options.python or ("python3" if container else task.argv[0])
    step = [f"--nodes={task.nodes}", "--ntasks-per-node=1", "--export=ALL", "--cpu-bind=none", "--kill-on-bad-exit=0", "--open-mode=append"]
    step += ["--auto-resume=1"] if options.auto_resume else []
    step += _pyxis(container) if container and container.runtime == "pyxis" else []
    command = [*_started_by(container, task, counts_gpus=bool(_gpus(task, options))), python, *task.argv[1:]]
    output = f'--output={quoted(_log_folder(task))}/"$job"/node-%n.log'
    on_each_node = (_MEET_ANEW if options.auto_resume else "") + _ON_EACH_NODE
    return f"srun {_words(step)} {output} \\\n    sh -c {quoted(on_each_node)} sh \\\n    {_words(command)}"


def _pyxis(container: Container) -> list[str]:
    mounts = ",".join(_both_sides(mount) for mount in container.mounts)
    return [
        f"--container-image={container.image}",
        *([f"--container-mounts={mounts}"] if mounts else []),
        *([f"--container-env={','.join(container.env)}"] if container.env else []),
    ]


def _started_by(container: Container | None, task: Task, counts_gpus: bool) -> list[str]:
    """The program on the node that starts the container, where one does.

    Slurm sets CUDA_VISIBLE_DEVICES where it counts GPUs; elsewhere all of the node are the job's, and enroot would pass it on empty.
    """
    if container is None or container.runtime == "pyxis":
        return []
    mounts = [_both_sides(mount) for mount in container.mounts]
    if container.runtime == "apptainer":
        nvidia = ["--nv"] if task.gpus_per_node else []
        return ["apptainer", "exec", *nvidia, *(f"--bind={mount}" for mount in mounts), container.image]
    variables = [*_FOR_THE_RUN, *(["CPT_MEMBER"] if task.members > 1 else []), *(["CUDA_VISIBLE_DEVICES"] if counts_gpus else [])]
    variables += [*task.env, *container.env]
    shown = [word for mount in mounts for word in ("--mount", mount)]
    passed = [word for name in variables for word in ("--env", name)]
    return ["enroot", "start", *shown, *passed, "--", container.image]


def _both_sides(mount: str) -> str:
    return mount if ":" in mount else f"{mount}:{mount}"


def _array(task: Task) -> str | None:
    if task.members == 1:
        return None
    return f"0-{task.members - 1}" + (f"%{task.parallel}" if task.parallel else "")


def _cpus(task: Task, options: SlurmOptions) -> int | None:
    """Of a node: srun starts one process there, which starts the others."""
    if options.cpus is None and _exclusive(options):
        return None
    return (options.cpus or (CPUS_A_GPU if task.gpus_per_node else 1)) * task.processes


def _exclusive(options: SlurmOptions) -> bool:
    """HyperPod replaces nodes only under a job that shares them with nobody."""
    return options.exclusive or options.auto_resume


def _gpus(task: Task, options: SlurmOptions) -> dict[str, str]:
    if not task.gpus_per_node or options.gpu_request == "none":
        return {}
    count = f"{options.gpu_type}:{task.gpus_per_node}" if options.gpu_type else str(task.gpus_per_node)
    return {"gres": f"gpu:{count}"} if options.gpu_request == "gres" else {"gpus-per-node": count}


def _log_folder(task: Task) -> str:
    """The folder of logs as a pattern of Slurm's, where % is its own."""
    folder = str(task.folder / "logs")
    if "\\" in folder or not folder.isprintable():
        raise ResourceError("run.output", folder, "Slurm cannot write logs to a folder with such a name", "Use one without backslashes")
    return folder.replace("%", "%%")


def _checked_name(name: str) -> str:
    if not (name.isascii() and name.isidentifier()):
        raise ResourceError("env", name, "is no name of an environment variable", "Use letters, digits and underscores")
    return name


def _as_arguments(wanted: dict[str, str | int | bool | None]) -> Iterator[str]:
    for name, value in wanted.items():
        if value is True:
            yield f"--{name}"
        elif value is not None and value is not False:
            yield f"--{name}={value}"


def _words(argv: Sequence[str]) -> str:
    return " ".join(map(quoted, argv))
