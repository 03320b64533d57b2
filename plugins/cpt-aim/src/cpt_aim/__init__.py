"""Aim as a logger of cpt."""

from cpt_aim.logger import AimLogger, AimOptions

__all__ = ["AimLogger", "AimOptions"]
