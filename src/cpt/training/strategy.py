"""FSDP2 over one DeviceMesh, as a Lightning strategy: the same path on one CPU process, several, one GPU and many."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any, Protocol, cast

import lightning.pytorch as pl
import torch
from lightning.fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from lightning.pytorch.loops.training_epoch_loop import _TrainingEpochLoop
from lightning.pytorch.strategies import ModelParallelStrategy
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard
from torch.optim import Optimizer

from cpt.model.decoder import Decoder

MESH_AXES = ("dp_replicate", "dp_shard")
COLLECTIVE_TIMEOUT = timedelta(minutes=30)
"""How long a rank waits for the others: longer than rank 0 takes to publish a checkpoint."""


class Shardable(Protocol):
    """What this strategy asks of the LightningModule."""

    decoder: Decoder
    """Built on the meta device."""
    fill: Callable[[Decoder, Optimizer], None]
    """Sets the weights of the decoder, once it is sharded and has memory, and the state of its optimizer."""


class FsdpStrategy(ModelParallelStrategy):
    """Shards the decoder block by block over `dp_shard` ranks and replicates it `dp_replicate` times (HSDP).

    Lightning's own ModelParallelStrategy fixes a two-axis mesh of its naming, reduces gradients after every micro-batch, and saves with
    pickles: what differs here is the mesh, where sharding happens, and that checkpoints are none of its business (`cpt.model.checkpoint`).

    Args:
        dp_replicate: Replicas of the sharded model.
        dp_shard: Ranks that share one replica.
        precision: `fp32` or `bf16`: of the compute; weights, gradients' reduction and optimizer stay fp32.
    """

    def __init__(self, dp_replicate: int, dp_shard: int, precision: str) -> None:
        super().__init__(timeout=COLLECTIVE_TIMEOUT)
        self._mesh_shape = (dp_replicate, dp_shard)
        compute = torch.bfloat16 if precision == "bf16" else torch.float32
        self._mixed_precision = MixedPrecisionPolicy(param_dtype=compute, reduce_dtype=torch.float32)

    def setup_environment(self) -> None:
        """Joins the process group and lays out the mesh."""
        self._setup_distributed()
        self._device_mesh = init_device_mesh(self.root_device.type, self._mesh_shape, mesh_dim_names=MESH_AXES)
        assert self.lightning_module is not None
        self.lightning_module._device_mesh = self._device_mesh

    def setup(self, trainer: pl.Trainer) -> None:
        """Shards the module's decoder (built on the meta device), gives it memory, makes the optimizer, fills both."""
        assert self.accelerator is not None
        assert self.lightning_module is not None
        self.accelerator.setup(trainer)
        module = cast(Shardable, self.lightning_module)
        self.shard(module.decoder)
        module.decoder.to_empty(device=self.root_device)
        self.setup_optimizers(trainer)
        module.fill(module.decoder, self.optimizers[0])
        self.barrier()
        self.setup_precision_plugin()

    def shard(self, decoder: Decoder) -> None:
        """Applies `fully_shard` to each block, then to what is left (embeddings, last norm, output projection)."""
        options: dict[str, Any] = {"mesh": self.device_mesh, "mp_policy": self._mixed_precision}
        for block in decoder.blocks:
            fully_shard(block, **options)
        fully_shard(decoder, **options)

    def sync_gradients(self, decoder: Decoder, enabled: bool) -> None:
        """Whether the next backward pass reduces gradients over ranks: only the last of a step does."""
        assert isinstance(decoder, FSDPModule)
        decoder.set_requires_gradient_sync(enabled)
        decoder.set_is_last_backward(enabled)


class EpochLoop(_TrainingEpochLoop):
    """Lightning's loop without its broadcast and device read before every batch (lightning#21487): the ranks agree to stop in the
    all-reduce that a step makes anyway."""

    def _broadcast_sigterm_tensor(self) -> None:
        pass


def make_trainer(strategy: FsdpStrategy, callbacks: list[pl.Callback], processes: int, nodes: int) -> pl.Trainer:
    """A Lightning trainer with everything switched off that this project does itself, or not at all."""
    trainer = pl.Trainer(
        strategy=strategy,
        accelerator="gpu" if torch.cuda.is_available() else "cpu",
        devices=processes,
        num_nodes=nodes,
        plugins=[TorchElasticEnvironment()],
        callbacks=callbacks,
        precision="32-true",  # FSDP's own policy casts
        max_epochs=1,  # one pass over the remaining steps
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        limit_val_batches=0,
        num_sanity_val_steps=0,
    )
    trainer.fit_loop.epoch_loop = EpochLoop(trainer, min_steps=None, max_steps=-1)
    return trainer
