"""Weights & Biases as a logger of cpt."""

from cpt_wandb.logger import WandbLogger, WandbOptions

__all__ = ["WandbLogger", "WandbOptions"]
