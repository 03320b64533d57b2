"""cpt on any cloud: a run is a SkyPilot managed job."""

from cpt_skypilot.launcher import SkypilotLauncher
from cpt_skypilot.options import SkypilotOptions

__all__ = ["SkypilotLauncher", "SkypilotOptions"]
