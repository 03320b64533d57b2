"""What a recipe needs against what is here, and who could take it. Refuses on the submitting machine, before anything is done."""

from __future__ import annotations

from cpt import plugins
from cpt.contracts import Launcher
from cpt.errors import ResourceError
from cpt.launch.machine import cores, gpus
from cpt.planning.layout import USABLE_SHARE, fits
from cpt.planning.plan import Plan
from cpt.recipe.schema import Recipe

LOCAL = ("auto", "local")


def world_size(recipe: Recipe) -> int:
    """Ranks that `recipe` asks for: on a cluster all its GPUs; on this machine `cluster.processes`, else one a GPU, else one."""
    cluster = recipe.cluster
    if cluster.instance_type is not None:
        return cluster.nodes * (cluster.gpus_per_node or 1)
    return cluster.processes or cluster.gpus_per_node or max(1, len(gpus()))


def choose_launcher(recipe: Recipe) -> Launcher:
    """The launcher that will take `recipe`: the one it names, or this machine where that suffices.

    Raises:
        ResourceError: What it needs is not here.
        PluginError: It names a launcher that is not installed, or options that launcher refuses.
    """
    name = recipe.launcher.name
    if name in LOCAL:
        _refuse_if_not_here(recipe)
        name = "local"
    found, options = plugins.load("launchers", name, recipe.launcher.options, "launcher")
    launcher: Launcher = found(options)
    return launcher


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


def _refuse_if_not_here(recipe: Recipe) -> None:
    cluster, here = recipe.cluster, gpus()
    wanted = cluster.gpus_per_node or 0
    if cluster.nodes == 1 and wanted <= len(here) and (cluster.processes or 0) <= (len(here) or (cluster.processes or 0)):
        return
    gpus_here = f"{len(here)} GPU{'s' if len(here) != 1 else ''}" + (f" ({here[0]})" if here else "")
    kind = f" {cluster.gpu}" if cluster.gpu else ""
    needed = f"{cluster.nodes} node{'s' if cluster.nodes != 1 else ''} of {wanted or cluster.processes}{kind}"
    raise ResourceError(
        f"cluster={cluster.name}",
        f"needs {needed}",
        f"this machine is 1 node with {gpus_here} and {cores()} cores",
        f"{_who_could()}; cluster=local runs a recipe on whatever is here",
    )


def _who_could() -> str:
    """The launchers that could take a cluster: installed ones by name, the others with their package."""
    here = {plugin.name for plugin in plugins.installed("launchers")} - set(LOCAL)
    offers = [f"launcher={name}" for name in sorted(here)]
    offers += [
        f"launcher={n} (plugin {package}, not installed)"
        for (kind, n), package in plugins.OFFERED_BY.items()
        if kind == "launchers" and n not in here
    ]
    return f"Launchers that could take it: {', '.join(offers)}"
