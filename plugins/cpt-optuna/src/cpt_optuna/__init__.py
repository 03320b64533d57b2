"""cpt sweeps with Optuna."""

from cpt_optuna.sweeper import OptunaOptions, OptunaSweeper

__all__ = ["OptunaOptions", "OptunaSweeper"]
