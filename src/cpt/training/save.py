"""Checkpoints and the final model: every rank writes its shards, rank 0 commits."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict

from cpt.data.tokenizer import TextTokenizer
from cpt.evaluation.compare import compare
from cpt.model import checkpoint, hf
from cpt.recipe.architecture import Architecture
from cpt.recipe.schema import Recipe
from cpt.rundir import RunDirectory
from cpt.training.module import CptModule
from cpt.training.position import Losses, Position
from cpt.training.signals import Stop


@dataclass
class Saver:
    """Writes what a run leaves.

    Args:
        run: The run's directory.
        recipe: Its recipe.
        architecture: Its model's shape.
        tokenizer: Saved beside the weights, so that each checkpoint is a model by itself.
        rank: Only rank 0 commits.
    """

    run: RunDirectory
    recipe: Recipe
    architecture: Architecture
    tokenizer: TextTokenizer
    rank: int

    def checkpoint(self, module: CptModule, position: Position, losses: Losses, stop: Stop = Stop.NO) -> None:
        """Commits weights, optimizer state and position; with `stop`, the manifest says that the run was interrupted."""
        status = "interrupted" if stop else "running"
        self._commit_checkpoint(module, position, losses)
        self._publish(position, {"status": status})

    def finish(self, module: CptModule, position: Position, losses: Losses) -> None:
        """Commits the final model, then the last checkpoint, then the manifest that says so."""
        weights: dict[str, Any] = get_model_state_dict(module.decoder, options=StateDictOptions(full_state_dict=True, cpu_offload=True))
        if self.rank == 0:
            self._commit_final(weights)
        self._commit_checkpoint(module, position, losses)
        summary = {name: compare(position.before[name], after).to_json() for name, after in losses.items()}
        self._publish(
            position, {"status": "completed", "final": "final", "checkpoint_s3_bucket": self.run.uri("final"), "summary": summary}
        )

    def _commit_checkpoint(self, module: CptModule, position: Position, losses: Losses) -> None:
        folder = self.run.temporary_checkpoint(position.step)
        if self.rank == 0:
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
        dist.barrier()
        try:
            checkpoint.save(folder, module.decoder, module.optimizer)
        except OSError:  # on every rank
            shutil.rmtree(folder, ignore_errors=True)
            raise
        dist.barrier()
        if self.rank == 0:
            hf.write_config(folder, self.architecture, bos_id=self.tokenizer.bos_id, eos_id=self.tokenizer.eos_id)
            self.tokenizer.save(folder)
            position.write(folder)
            self.run.commit_checkpoint(position.step, folder, {name: value.loss for name, value in losses.items()})

    def _commit_final(self, weights: dict[str, torch.Tensor]) -> None:
        dtype = torch.bfloat16 if self.recipe.train.precision == "bf16" else torch.float32
        with self.run.committed("final") as folder:
            hf.write(folder, weights, self.architecture, dtype, bos_id=self.tokenizer.bos_id, eos_id=self.tokenizer.eos_id)
            self.tokenizer.save(folder)

    def _publish(self, position: Position, changes: dict[str, Any]) -> None:
        if self.rank == 0:
            self.run.update_manifest(steps=position.step, tokens=position.tokens, **changes)
            self.run.prune(self.recipe.checkpoint.keep)
            self.run.publish()
        dist.barrier()
