"""What a recipe may ask of Slurm. Each option reaches sbatch as one argument, never as text of a script."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field
from pydantic_core import PydanticCustomError

from cpt.contracts import LauncherOptions
from cpt.recipe.frozen import Frozen

EXTRA = (
    "begin", "comment", "contiguous", "core-spec", "cores-per-socket", "cpu-freq", "deadline", "delay-boot", "distribution", "exclude",
    "gpu-freq", "gres-flags", "hint", "licenses", "mail-type", "mail-user", "mem-bind", "mem-per-cpu", "mem-per-gpu", "mincpus",
    "network", "nice", "nodelist", "oversubscribe", "prefer", "priority", "profile", "sockets-per-node", "spread-job", "switches",
    "thread-spec", "threads-per-core", "tmp", "use-min-nodes", "wait-all-nodes", "wckey",
)  # fmt: skip
"""sbatch's options that only say where, when and for whom a job runs. The others run code, change files or what this launcher sets."""
_TIME = re.compile(r"(?:(?P<days>\d+)-)?(?P<first>\d+)(?::(?P<second>\d+))?(?::(?P<third>\d+))?")


def minutes(time_limit: str) -> float:
    """Slurm's notation of a time in minutes: `M`, `M:S`, `H:M:S`, `D-H`, `D-H:M` or `D-H:M:S`.

    Raises:
        ValueError: It is none of these.
    """
    match = _TIME.fullmatch(time_limit)
    if match is None:
        raise ValueError(time_limit)
    days, first, second, third = (int(part or 0) for part in match.groups())
    if match["days"] or match["third"]:
        return (days * 24 + first) * 60 + second + third / 60
    return first + second / 60


def _check_time(time_limit: str) -> str:
    try:
        minutes(time_limit)
    except ValueError:
        raise PydanticCustomError("time_limit", "must be minutes, hours:minutes:seconds or days-hours:minutes:seconds") from None
    return time_limit


def _check_extra(word: str) -> str:
    name = word.removeprefix("--").partition("=")[0]
    if not word.startswith("--") or name not in EXTRA:
        known = ", ".join(EXTRA)
        raise PydanticCustomError("extra", "must be --name or --name=value, as one word, of: {known}", {"known": known})
    return word


def _as_text(value: object) -> object:
    """YAML takes account 1234 for a number."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


Line = Annotated[str, BeforeValidator(_as_text), Field(pattern=r"^[^\x00-\x1f\x7f]+$")]
"""Text on one line."""


class Container(Frozen):
    """The image that every node runs cpt in."""

    image: Annotated[str, Field(pattern=r"^[^\x00-\x1f\x7f-][^\x00-\x1f\x7f]*$")]
    """A file or a name, as the runtime takes it."""
    runtime: Literal["pyxis", "enroot", "apptainer"] = "pyxis"
    """What starts it: pyxis is a part of srun, the others are programs on the nodes."""
    mounts: tuple[Annotated[str, Field(pattern=r"^/[^:,\x00-\x1f\x7f]*(:/[^:,\x00-\x1f\x7f]*)?$")], ...] = ()
    """Folders of the nodes to be seen inside, `/here` or `/here:/inside`; the run, its data and its store must be among them."""
    env: tuple[Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")], ...] = ()
    """Names of the node's variables, as the site file exports them, that are to be seen inside: enroot passes no others, and with pyxis
    they come before the image's own. apptainer passes all."""


class SlurmOptions(LauncherOptions):
    """Options of `launcher=slurm`; null leaves a choice to Slurm."""

    partition: Line | None = None
    """Partition, or several with commas between them; null: the cluster's default."""
    account: Line | None = None
    """Account to charge."""
    qos: Line | None = None
    """Quality of service."""
    time_limit: Annotated[Line, AfterValidator(_check_time)] | None = None
    """Minutes, `H:M:S` or `D-H:M:S`; null: the partition's."""
    gpu_request: Literal["gpus-per-node", "gres", "none"] = "gpus-per-node"
    """How the GPUs of a node are asked for; `none` where Slurm does not count them and nodes are handed out whole."""
    gpu_type: Line | None = None
    """Type of GPU, in the cluster's own words."""
    cpus: Annotated[int, Field(ge=1)] | None = None
    """CPUs of each process; null: 4 with a GPU, 1 without, or all of the node with `exclusive`."""
    memory: Line | None = None
    """Memory of a node, as `200G`; 0: all of it."""
    constraint: Line | None = None
    """Features that the nodes must have."""
    reservation: Line | None = None
    """Reservation to run in."""
    exclusive: bool = False
    """Whether to share the nodes with nobody."""
    requeue: bool = True
    """Whether the job goes back into the queue after preemption, its time limit or the failure of a node."""
    signal_s: Annotated[int, Field(ge=1, le=65535)] = 120
    """Seconds before the time limit at which the run is told to commit."""
    chain: Annotated[int, Field(ge=1, le=100)] = 1
    """Jobs in a row, each beginning where the last one stopped: for clusters that do not requeue. With more than 1 none is requeued."""
    after: tuple[Annotated[str, BeforeValidator(_as_text), Field(pattern=r"^\d+(_\d+)?$")], ...] = ()
    """Jobs that must have ended well first, by id."""
    container: Container | None = None
    """Image to run in; null: what the site file sets up."""
    auto_resume: bool = False
    """Whether SageMaker HyperPod replaces a faulty node and starts the step again (`srun --auto-resume=1`)."""
    extra: tuple[Annotated[Line, AfterValidator(_check_extra)], ...] = ()
    """Further arguments of sbatch that say where, when and for whom it runs, as `--nodelist=n[1-4]`."""
    python: Annotated[str, Field(pattern=r"^python[0-9.]*$")] | None = None
    """Interpreter on the nodes' PATH, as the site file or the image sets it; null: this machine's own by path, `python3` in a container."""

    @property
    def requeues(self) -> bool:
        """Whether a stopped job goes back into the queue; in a chain the next one goes on instead."""
        return self.requeue and self.chain == 1
