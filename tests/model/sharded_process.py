"""One of the processes that test_sharding.py starts: python sharded_process.py RANK WORLD_SIZE FOLDER."""

import sys
from pathlib import Path

import torch
import torch.distributed as dist
from safetensors.torch import save_file
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard

from cpt.model import hf
from cpt.model.decoder import Decoder
from cpt.model.generate import generate
from cpt.model.init import init_weights


def sharded(folder: Path, world_size: int) -> Decoder:
    with torch.device("meta"):
        decoder = Decoder(hf.read_architecture(folder))
    mesh = init_device_mesh("cpu", (1, world_size), mesh_dim_names=("dp_replicate", "dp_shard"))
    for block in decoder.blocks:
        fully_shard(block, mesh=mesh)
    fully_shard(decoder, mesh=mesh)
    decoder.to_empty(device="cpu")
    return decoder


def main(rank: int, world_size: int, folder: Path) -> None:
    store = dist.FileStore(str(folder / "rendezvous"), world_size)
    dist.init_process_group("gloo", rank=rank, world_size=world_size, store=store)
    decoder = sharded(folder, world_size)
    results = {}
    init_weights(decoder, seed=1)
    results |= {f"init.{name}": parameter.full_tensor() for name, parameter in decoder.named_parameters()}
    hf.load(folder, decoder)
    results |= {f"loaded.{name}": parameter.full_tensor() for name, parameter in decoder.named_parameters()}
    tokens_BT, positions_BT = torch.arange(40).view(2, 20), torch.arange(20).expand(2, 20)
    losses_BT = decoder(tokens_BT, positions_BT, torch.zeros_like(tokens_BT), tokens_BT)
    losses_BT.sum().backward()
    results |= {f"grad.{name}": parameter.grad.full_tensor() for name, parameter in decoder.named_parameters()}
    results |= {"losses": losses_BT, "ids": torch.tensor(generate(decoder, [1, 2, 3], 6))}
    save_file({name: tensor.detach().contiguous() for name, tensor in results.items()}, folder / f"results-{rank}.safetensors")
    dist.barrier()
    dist.destroy_process_group()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
