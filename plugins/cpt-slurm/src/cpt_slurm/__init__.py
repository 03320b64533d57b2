"""Slurm for cpt: `launcher=slurm`."""

from cpt_slurm.launcher import SlurmLauncher

__all__ = ["SlurmLauncher"]
