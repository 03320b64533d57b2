"""Recipe options: `logger=wandb`."""
