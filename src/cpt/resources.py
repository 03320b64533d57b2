"""What a recipe needs against what is here, and who can take it. Refuses on the submitting machine, before anything is done."""

from __future__ import annotations

from typing import Any, NamedTuple

from cpt import plugins
from cpt.console import say
from cpt.contracts import Launcher
from cpt.cores import cores
from cpt.errors import Fault, ResourceError
from cpt.launch.machine import gpus
from cpt.planning.layout import USABLE_SHARE, fits
from cpt.planning.plan import Plan
from cpt.recipe.schema import Recipe
from cpt.storage import is_url

LOCAL = "local"
ASKED_FIRST = ("slurm",)
"""By `launcher=auto`: who stands on a login node means its queue, whatever else the machine can reach."""


class Chosen(NamedTuple):
    """A launcher, the name that it goes by, and its options as a run may keep them: what the environment gave is an interpolation."""

    name: str
    launcher: Launcher
    kept_options: dict[str, Any]

    @property
    def is_local(self) -> bool:
        """Whether this machine will do."""
        return self.name == LOCAL


def processes_per_node(recipe: Recipe) -> int:
    """Ranks on each node: on a cluster one a GPU; on `local` `cluster.processes`, else one a GPU of this machine, else one."""
    cluster = recipe.cluster
    if cluster.instance_type is not None:
        return cluster.gpus_per_node or 1
    return cluster.processes or cluster.gpus_per_node or max(1, len(gpus()))


def gpus_per_node(recipe: Recipe) -> int:
    """GPUs that the ranks of a node need: those of the cluster; on `local` those of this machine, as far as there are ranks for them."""
    if recipe.cluster.instance_type is not None:
        return recipe.cluster.gpus_per_node or 0
    return min(recipe.cluster.gpus_per_node or len(gpus()), processes_per_node(recipe))


def world_size(recipe: Recipe) -> int:
    """Ranks that `recipe` asks for."""
    return recipe.cluster.nodes * processes_per_node(recipe)


def choose_launcher(recipe: Recipe) -> Chosen:
    """The launcher that will take `recipe`: the one it names; for `auto` this machine where that suffices, else what is offered here.

    Raises:
        ResourceError: What it needs is not here.
        PluginError: It names a launcher that is not installed, or options that launcher refuses.
    """
    name = recipe.launcher.name
    if name in ("auto", LOCAL):
        lacking = _lacking(recipe)
        offered = _offered_here() if lacking and name == "auto" else None
        if lacking and offered is None:
            raise ResourceError(lacking)
        name = offered or LOCAL
    found, options = plugins.load("launchers", name, recipe.launcher.options, "launcher")
    return Chosen(name, found(options), recipe.kept()["launcher"]["options"])


def refuse_remote_nodes(recipe: Recipe) -> None:
    """Refuses a run of several nodes at a URL: each node would keep its shards of a checkpoint in a cache of its own.

    Raises:
        ResourceError: It is one.
    """
    if recipe.cluster.nodes > 1 and is_url(recipe.run.output):
        rule = f"a run of {recipe.cluster.nodes} nodes needs a file system that they share"
        raise ResourceError("run.output", recipe.run.output, rule, "Name a folder on it; a run of one node may stand at a URL")


def refuse_too_large(recipe: Recipe, plan: Plan) -> None:
    """Refuses a plan that cannot fit a GPU.

    Raises:
        ResourceError: Its memory is larger.
    """
    needed = plan.layout.memory_gb
    if not fits(needed, recipe):
        raise ResourceError(
            "plan",
            f"{needed:.0f} GB a GPU",
            f"a {recipe.cluster.gpu} has {recipe.cluster.memory_gb} GB, of which {USABLE_SHARE:.0%} can be used",
            "Take more nodes, a smaller train.micro_batch_size or train.max_length, or leave parallel.* null",
        )


def _offered_here() -> str | None:
    """The first installed launcher that this machine can reach; only `launcher=auto` asks, so only it imports them all."""
    names = sorted({plugin.name for plugin in plugins.installed("launchers")} - {LOCAL}, key=lambda name: (name not in ASKED_FIRST, name))
    return next(filter(_is_offered, names), None)


def _is_offered(name: str) -> bool:
    try:
        return bool(plugins.load_class("launchers", name, "launcher").is_offered_here())
    except Exception as error:  # a stranger's code: it must not keep the others from being asked
        say(f"warning: launcher={name} cannot be asked whether it is offered here ({type(error).__name__}: {error})")
        return False


def _lacking(recipe: Recipe) -> Fault | None:
    """What this machine lacks; None where it suffices."""
    cluster, here = recipe.cluster, gpus()
    wanted = cluster.gpus_per_node or 0
    if cluster.nodes == 1 and wanted <= len(here) and (cluster.processes or 0) <= (len(here) or (cluster.processes or 0)):
        return None
    gpus_here = f"{len(here)} GPU{'s' if len(here) != 1 else ''}" + (f" ({here[0]})" if here else "")
    kind = f" {cluster.gpu}" if cluster.gpu else ""
    needed = f"{cluster.nodes} node{'s' if cluster.nodes != 1 else ''} of {wanted or cluster.processes or 1}{kind}"
    instead = "without cluster.nodes, gpus_per_node and processes" if cluster.name == "local" else "with cluster=local"
    return Fault(
        f"cluster={cluster.name}",
        f"needs {needed}",
        f"this machine is 1 node with {gpus_here} and {cores()} cores",
        f"{_who_could()}; {instead} it runs on whatever is here",
    )


def _who_could() -> str:
    """The launchers that could take a cluster: installed ones by name, the others with their package."""
    here = {plugin.name for plugin in plugins.installed("launchers")} - {LOCAL}
    offers = [f"launcher={name}" for name in sorted(here)]
    offers += [
        f"launcher={n} (plugin {package}, not installed)"
        for (kind, n), package in plugins.OFFERED_BY.items()
        if kind == "launchers" and n not in here
    ]
    return f"Launchers that could take it: {', '.join(offers)}"
