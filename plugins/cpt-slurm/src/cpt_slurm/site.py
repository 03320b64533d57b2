"""The user's own lines of shell for this cluster: modules, environments, NCCL's variables. Recipes cannot name it."""

from __future__ import annotations

import os
from pathlib import Path

VARIABLE = "CPT_SLURM_SITE"


def site_file() -> Path | None:
    """`$CPT_SLURM_SITE`, there or not; else `cpt/slurm.sh` in the user's configuration folder, where it is there.

    Source: XDG Base Directory Specification 0.8 for the folder.
    """
    if named := os.environ.get(VARIABLE):
        return Path(named).absolute()
    configuration = os.environ.get("XDG_CONFIG_HOME") or "~/.config"
    default = Path(configuration, "cpt", "slurm.sh").expanduser()
    return default if default.is_file() else None
