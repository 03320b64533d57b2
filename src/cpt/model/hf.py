"""Weights in and out of a Hugging Face folder: config.json and safetensors, readable without this project."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.distributed.tensor import DTensor
from torch.distributed.tensor._utils import compute_local_shape_and_global_offset

from cpt.errors import CheckpointError, Fault, StorageError
from cpt.model.decoder import Decoder
from cpt.recipe.architecture import Architecture

CONFIG, GENERATION, WEIGHTS, INDEX = "config.json", "generation_config.json", "model.safetensors", "model.safetensors.index.json"
SHARD_BYTES = 5 * 10**9
"""Largest file written."""
FLOATS = ("F64", "F32", "F16", "BF16")
DTYPE_NAMES = {torch.float32: "float32", torch.bfloat16: "bfloat16", torch.float16: "float16"}
SHOWN = 20
"""Faults of one kind that are listed one by one."""


def read_architecture(folder: Path) -> Architecture:
    """The shape that `folder`'s config.json describes.

    Raises:
        CheckpointError: There is none, it is no JSON, or `Architecture.from_hf_config` refuses it.
    """
    path = folder / CONFIG
    try:
        config = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise CheckpointError(str(path), "", "does not exist", "Name a folder that transformers' save_pretrained wrote") from None
    except (OSError, ValueError) as error:
        raise CheckpointError(str(path), str(error), "must be readable JSON") from None
    return Architecture.from_hf_config(config if isinstance(config, dict) else {}, str(path))


@torch.no_grad()
def load(folder: Path, decoder: Decoder) -> None:
    """Fills `decoder` from the safetensors files in `folder`, converting to its parameters' type.

    Args:
        folder: A Hugging Face folder, with or without an index.
        decoder: Of the folder's shape; if it is sharded, each rank reads its own slices only.

    Raises:
        CheckpointError: Files are missing or broken, or tensors missing, unexpected, of another shape or quantised; all of them at once.
    """
    parameters = dict(decoder.named_parameters())
    with ExitStack() as stack:
        stored = _open(weight_files(folder), stack)
        _check(folder, parameters, stored, ignored={"lm_head.weight"} if decoder.architecture.tied_embeddings else set())
        for name, parameter in parameters.items():
            _fill(parameter, stored[name].get_slice(name))


def weight_files(folder: Path) -> list[Path]:
    """The safetensors files of the model in `folder`.

    Raises:
        CheckpointError: There are none, or some that the index names are missing.
    """
    if (folder / INDEX).exists():
        return _indexed_files(folder / INDEX)
    if (folder / WEIGHTS).exists():
        return [folder / WEIGHTS]
    if files := sorted(folder.glob("*.safetensors")):
        return files
    cure = "Name a folder that holds model.safetensors"
    if any(folder.glob("*.bin")):
        cure = (
            "Pickled weights (*.bin) can run code and are not read: open them with transformers and save_pretrained(folder) as safetensors"
        )
    raise CheckpointError(str(folder), "", "holds no safetensors weights", cure)


def write(
    folder: Path,
    weights: Mapping[str, Tensor],
    architecture: Architecture,
    dtype: torch.dtype = torch.float32,
    bos_id: int | None = None,
    eos_id: int | None = None,
) -> None:
    """Writes a folder that `transformers.AutoModelForCausalLM` opens; the tokenizer is the caller's to add.

    Args:
        folder: Where; made if it is not there.
        weights: Whole tensors by parameter name (`decoder.state_dict()`, gathered).
        architecture: Their shape.
        dtype: Type that they are stored in.
        bos_id: See `write_config`.
        eos_id: See `write_config`.

    Raises:
        StorageError: A file of weights cannot be written.
    """
    write_config(folder, architecture, dtype, bos_id, eos_id)
    shards = _split(weights, dtype)
    names = [WEIGHTS] if len(shards) == 1 else [f"model-{i + 1:05d}-of-{len(shards):05d}.safetensors" for i in range(len(shards))]
    for name, tensor_names in zip(names, shards, strict=True):
        tensors = {tensor: weights[tensor].detach().to("cpu", dtype).contiguous() for tensor in tensor_names}
        try:
            save_file(tensors, folder / name, metadata={"format": "pt"})
        except SafetensorError as error:
            raise StorageError(str(folder / name), str(error), "cannot be written", "Free some space, or name a folder elsewhere") from None
        shutil.copymode(folder / CONFIG, folder / name)  # the library writes files that only their owner can read
    if len(shards) > 1:
        total = sum(weights[name].numel() for name in weights) * dtype.itemsize
        places = {tensor: name for name, tensor_names in zip(names, shards, strict=True) for tensor in tensor_names}
        _write_json(folder / INDEX, {"metadata": {"total_size": total}, "weight_map": dict(sorted(places.items()))})


def write_config(
    folder: Path,
    architecture: Architecture,
    dtype: torch.dtype = torch.float32,
    bos_id: int | None = None,
    eos_id: int | None = None,
) -> None:
    """Writes config.json and generation_config.json.

    Args:
        folder: Where; made if it is not there.
        architecture: The model's shape.
        dtype: What the weights beside it are stored in.
        bos_id: Token that begins a document; None: written as null, lest transformers assumes its family's default.
        eos_id: Token that ends a document.
    """
    folder.mkdir(parents=True, exist_ok=True)
    special = {"bos_token_id": bos_id, "eos_token_id": eos_id}
    _write_json(folder / CONFIG, {**architecture.to_hf_config(), **special, "torch_dtype": DTYPE_NAMES[dtype]})
    _write_json(folder / GENERATION, special)


def _write_json(path: Path, value: dict[str, Any]) -> None:
    path.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")


def _split(weights: Mapping[str, Tensor], dtype: torch.dtype) -> list[list[str]]:
    """Tensor names, cut into files of at most `SHARD_BYTES` (a larger tensor has a file of its own)."""
    shards: list[list[str]] = [[]]
    filled = 0
    for name, tensor in weights.items():
        size = tensor.numel() * dtype.itemsize
        if shards[-1] and filled + size > SHARD_BYTES:
            shards.append([])
            filled = 0
        shards[-1].append(name)
        filled += size
    return shards


def _indexed_files(index: Path) -> list[Path]:
    try:
        names = sorted({str(name) for name in json.loads(index.read_bytes())["weight_map"].values()})
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise CheckpointError(str(index), "", "must be JSON with a weight_map", "Fetch the folder again") from None
    if outside := [name for name in names if Path(name).name != name]:
        raise CheckpointError.of(Fault(str(index), name, "must name files of its own folder") for name in outside)
    if absent := [name for name in names if not (index.parent / name).exists()]:
        raise CheckpointError.of(
            Fault(str(index.parent / name), "", "is named by the index and missing", "Fetch it again") for name in absent
        )
    return [index.parent / name for name in names]


def _open(files: Iterable[Path], stack: ExitStack) -> dict[str, Any]:
    """The open file that holds each tensor."""
    stored: dict[str, Any] = {}
    faults = []
    for path in files:
        try:
            file = stack.enter_context(safe_open(path, framework="pt"))
            stored |= dict.fromkeys(file.keys(), file)
        except (SafetensorError, OSError) as error:
            faults.append(Fault(str(path), str(error), "cannot be read as safetensors", "Fetch the file again"))
    if faults:
        raise CheckpointError.of(faults)
    return stored


def _check(folder: Path, parameters: Mapping[str, nn.Parameter], stored: Mapping[str, Any], ignored: set[str]) -> None:
    expected = parameters.keys() | ignored
    unexpected = [name for name in stored if name not in expected and not name.endswith("rotary_emb.inv_freq")]
    missing = [name for name in parameters if name not in stored]
    faults = [*_listed(folder, missing, "is missing in the weights"), *_listed(folder, unexpected, "is not a tensor of this architecture")]
    wrong = []
    for name in parameters.keys() & stored.keys():
        held = stored[name].get_slice(name)
        if tuple(held.get_shape()) != tuple(parameters[name].shape):
            wrong.append(f"{name} has shape {held.get_shape()}, config.json says {list(parameters[name].shape)}")
        if held.get_dtype() not in FLOATS:
            wrong.append(f"{name} is stored as {held.get_dtype()}")
    faults += _listed(folder, sorted(wrong), f"shapes must agree with config.json and types be one of {', '.join(FLOATS)}")
    if faults:
        raise CheckpointError.of(faults)


def _listed(folder: Path, values: list[str], rule: str) -> Iterator[Fault]:
    for value in values[:SHOWN]:
        yield Fault(str(folder), value, rule)
    if len(values) > SHOWN:
        yield Fault(str(folder), f"and {len(values) - SHOWN} more", rule)


def _fill(parameter: nn.Parameter, held: Any) -> None:
    """Copies what this rank holds of `parameter` out of the stored tensor."""
    if not isinstance(parameter, DTensor):
        parameter.copy_(held[:])
        return
    shape, offset = compute_local_shape_and_global_offset(parameter.shape, parameter.device_mesh, parameter.placements)
    part = tuple(slice(start, start + size) for start, size in zip(offset, shape, strict=True))
    if parameter.to_local().numel():
        parameter.to_local().copy_(held[part])
