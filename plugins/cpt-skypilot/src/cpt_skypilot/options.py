"""What a recipe may say under `launcher.options`: names and amounts, checked by pattern, since a recipe is a stranger's."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from cpt.contracts import LauncherOptions

Word = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
Infra = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9*][A-Za-z0-9._:/*@-]*$")]
Image = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:/@-]*$")]
Amount = Annotated[str, StringConstraints(pattern=r"^[0-9]+(\.[0-9]+)?\+?$")]
"""A number, exactly or, with a `+`, at least."""
VariableName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]
Text = Annotated[str, StringConstraints(pattern=r"^[^\x00]*$")]
MountPath = Annotated[str, StringConstraints(pattern=r"^/[A-Za-z0-9._/-]+$")]
Program = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._/][A-Za-z0-9._/-]*$")]
Requirement = Annotated[
    str,
    StringConstraints(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*(\[[A-Za-z0-9._,-]+\])?([<>=!~]=?[A-Za-z0-9.*+!]+(,[<>=!~]=?[A-Za-z0-9.*+!]+)*)?$"
    ),
]
"""A distribution by name, with extras and versions; no URLs, paths or pip options."""


class SkypilotOptions(LauncherOptions):
    """Which machines are rented, and what they get before the run starts."""

    accelerator: Word | None = None
    """What SkyPilot calls the GPU, such as `H100`; how many a node has comes from the recipe's cluster. Must be given for GPUs."""
    infra: Infra | None = None
    """Where: `aws`, `gcp/us-central1`, `k8s/CONTEXT`; null: the cheapest place that SkyPilot finds."""
    instance_type: Word | None = None
    """The cloud's name of the machine; null: the cheapest that fits."""
    use_spot: bool = False
    """Spot machines: cheaper, and taken back at any time; the run then goes on elsewhere."""
    cpus: Amount | None = None
    """CPUs a node: `32` or `32+`."""
    memory_gb: Amount | None = None
    """Memory a node, GB: `256+`."""
    disk_gb: Annotated[int, Field(ge=1)] | None = None
    """The system disk's size, GB."""
    network_tier: Literal["standard", "best"] | None = None
    """`best`: the fastest network between the nodes that the cloud has."""
    image: Image | None = None
    """A machine image or, as `docker:NAME`, a container image."""
    python: Program = "python"
    """The machines' Python interpreter, in place of this machine's."""
    packages: tuple[Requirement, ...] = ()
    """What pip installs before the run from the machines' index: cpt and the recipe's plugins, where no image has them."""
    volumes: dict[MountPath, Word] = Field(default_factory=dict)
    """Paths, and the SkyPilot volume that is mounted at each: the path that it has here, for a run's paths mean the same there."""
    env: dict[VariableName, Text] = Field(default_factory=dict)
    """Environment variables of the run. No secrets: they stand in the file."""
    secrets: tuple[VariableName, ...] = ()
    """Environment variables of this machine that the run gets as SkyPilot secrets: their names only, the values stand nowhere."""
    labels: dict[Word, Word] = Field(default_factory=dict)
    """Labels of the rented machines."""
    restarts: Annotated[int, Field(ge=0)] = 0
    """Restarts after errors of the run's own; losing a machine, or being preempted, is none and always restarts."""
