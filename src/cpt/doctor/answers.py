"""What would and would not work here, from what was found."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence

from cpt import offers, plugins
from cpt.base import is_remote, resolve_base
from cpt.console import duration
from cpt.contracts import Launcher
from cpt.data.prepare import store_root
from cpt.doctor.finding import Answer, Finding, Level
from cpt.doctor.machine import usable_memory_gb
from cpt.doctor.trial import tried
from cpt.errors import Fault, UserError
from cpt.recipe.schema import Recipe
from cpt.resources import LOCAL, choose_launcher, processes_per_node, refuse_too_large
from cpt.submission import estimate

PROGRAMS = {"slurm": "sbatch", "kubernetes": "kubectl", "skypilot": "sky"}
"""What a launcher submits with."""
LAUNCHER_S = 10.0
Question = Callable[[Recipe, Sequence[Finding]], Iterable[Answer]]


def training(recipe: Recipe, findings: Sequence[Finding]) -> Iterator[Answer]:
    """Whether the recipe itself would train, where, how long and in what memory."""
    what = f"train {recipe.model.name}"
    init = recipe.model.init or "random"
    if wrong := next((finding for finding in findings if finding.level is Level.PROBLEM), None):
        yield Answer(what, False, str(Fault(wrong.subject, "", wrong.text, wrong.cure)))
    elif is_remote(init):
        yield Answer(what, None, f"model.init={init} would be fetched; cpt plan does that, and says")
    else:
        try:
            works, why = _trains(recipe, has_gpus=any(finding.figures.get("gpus") for finding in findings))
        except UserError as error:
            works, why = False, str(error.faults[0])
        yield Answer(what, works, why)


def _trains(recipe: Recipe, has_gpus: bool) -> tuple[bool, str]:
    chosen = choose_launcher(recipe)
    plan = estimate(recipe, resolve_base(recipe))
    refuse_too_large(recipe, plan)
    each = plan.layout.memory_gb
    if chosen.is_local and not has_gpus and (needed := each * processes_per_node(recipe)) > (usable := usable_memory_gb()):
        return False, f"it needs {needed:.1f} GB of memory, and {usable:.1f} GB are free"
    where = "here" if chosen.is_local else f"on cluster={recipe.cluster.name} through launcher={chosen.name}"
    return True, f"{where}: {plan.steps} steps in about {duration(plan.seconds)}, {each:.1f} GB a process"


def precision(recipe: Recipe, findings: Sequence[Finding]) -> Iterator[Answer]:  # noqa: ARG001  as every question
    """Whether bf16 pays on what is here."""
    figures = next((finding.figures for finding in findings if "bf16_tflops" in finding.figures), None)
    if figures is None:
        yield Answer("bf16", None, "the speed of products was not measured")
        return
    gain = figures["bf16_tflops"] / figures["fp32_tflops"]
    yield Answer("bf16", True, f"at {gain:.1f} times the speed of fp32" + ("" if gain >= 1 else ": train.precision=fp32 is faster here"))


def launchers(recipe: Recipe, findings: Sequence[Finding]) -> Iterator[Answer]:  # noqa: ARG001  as every question
    """Each launcher that is installed or known."""
    here = {plugin.name for plugin in offers.installed("launchers")}
    packages = {name: package for (kind, name), package in offers.OFFERED_BY.items() if kind == "launchers"}
    for name in sorted(here | packages.keys(), key=lambda name: (name != LOCAL, name)):
        found, faults = tried(lambda name=name: [_launcher(name, packages.get(name), name in here)], LAUNCHER_S)  # type: ignore[misc]
        yield from (*found, *(Answer(f"launcher={name}", False, str(fault)) for fault in faults))


def _launcher(name: str, package: str | None, is_installed: bool) -> Answer:
    program = PROGRAMS.get(name)
    lacking = f"{program} is not on the PATH" if program and shutil.which(program) is None else ""
    if not is_installed:
        return Answer(f"launcher={name}", False, "; ".join(filter(None, [lacking, f"pip install {package}"])))
    launcher = plugins.load_class("launchers", name, "launcher")
    if not lacking and not any("is_offered_here" in vars(base) for base in launcher.__mro__ if base is not Launcher):
        return Answer(f"launcher={name}", None, "launcher=auto never chooses it; named, it says itself what it lacks")
    if launcher.is_offered_here():
        return Answer(f"launcher={name}", True, "processes on this machine" if name == LOCAL else "launcher=auto finds it here")
    if program is None:
        return Answer(f"launcher={name}", None, "launcher=auto does not find it here; named, it says itself what it lacks")
    why = lacking or "launcher=auto does not find it here"
    return Answer(f"launcher={name}", False, f"{why}; with --dry-run it writes what it would submit")


def object_storage(recipe: Recipe, findings: Sequence[Finding]) -> Iterator[Answer]:
    """S3, where the recipe names it."""
    places = {"run.output": recipe.run.output, "data.store": store_root(recipe.data.store)}
    remote = {key for key, place in places.items() if place.startswith("s3://")} | {"S3", "lease"}
    concerned = [finding for finding in findings if finding.subject in remote]
    if not any(finding.subject == "S3" for finding in concerned):
        yield Answer("S3", None, "nothing in the recipe is there; run.output=s3://BUCKET/... asks")
    elif wrong := next((finding for finding in concerned if finding.level is Level.PROBLEM), None):
        yield Answer("S3", False, str(Fault("", "", wrong.text, wrong.cure)))
    else:
        yield Answer("S3", True, "what the recipe names there can be reached")


QUESTIONS: dict[str, Question] = {"train this": training, "bf16": precision, "launchers": launchers, "S3": object_storage}
