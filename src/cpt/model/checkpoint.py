"""Weights and optimizer of a run on disk: sharded safetensors, written by every rank and readable by any number of ranks.

A checkpoint is a folder:

    model/*.safetensors        weights, fp32, under Hugging Face's names
    optimizer/*.safetensors    Adam's moments and step counts, named `state.<parameter>.<moment>`
    config.json tokenizer*     so that the folder is a model by itself
    progress.json              the position: step, tokens, losses
    files.json                 size and SHA-256 of every file, written last (`cpt.storage`)
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageReader, HuggingFaceStorageWriter
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_model_state_dict,
    get_optimizer_state_dict,
    set_optimizer_state_dict,
)
from torch.distributed.checkpoint.state_dict_loader import load as load_state_dict
from torch.distributed.checkpoint.state_dict_saver import save as save_state_dict
from torch.optim import Optimizer

MODEL, OPTIMIZER = "model", "optimizer"
FLAT = StateDictOptions(flatten_optimizer_state_dict=True)


def save(folder: Path, decoder: nn.Module, optimizer: Optimizer) -> None:
    """Writes weights and optimizer state under `folder`; every rank of the process group calls it.

    Raises:
        OSError: A rank cannot write; all ranks raise it.
    """
    with _quiet():
        _write(folder / MODEL, get_model_state_dict(decoder))
        _write(folder / OPTIMIZER, _moments(decoder, optimizer))


def load(folder: Path, decoder: nn.Module, optimizer: Optimizer | None = None) -> None:
    """Fills `decoder`, and `optimizer` if given, from `folder`; each rank reads what its shards need.

    Args:
        folder: A verified checkpoint.
        decoder: Sharded or not; any number of ranks.
        optimizer: The optimizer over `decoder`'s parameters.
    """
    with _quiet():
        _read(folder / MODEL, get_model_state_dict(decoder))
        if optimizer is not None:
            moments = _moments(decoder, optimizer)
            _read(folder / OPTIMIZER, moments)
            everything = get_optimizer_state_dict(decoder, optimizer, options=FLAT)
            set_optimizer_state_dict(decoder, optimizer, {**everything, **moments}, options=FLAT)


def _moments(decoder: nn.Module, optimizer: Optimizer) -> dict[str, Any]:
    """The tensors of the optimizer's state; its settings are the recipe's."""
    state = get_optimizer_state_dict(decoder, optimizer, options=FLAT)
    return {name: value for name, value in state.items() if isinstance(value, torch.Tensor)}


def _write(folder: Path, tensors: dict[str, Any]) -> None:
    writer = HuggingFaceStorageWriter(str(folder), save_distributed=True)
    try:
        save_state_dict(tensors, storage_writer=writer, no_dist=not dist.is_initialized())
    except CheckpointException as error:  # no Exception, for all its name: it would pass every handler
        raise next(cause for cause, _ in error.failures.values()) from None


def _read(folder: Path, tensors: dict[str, Any]) -> None:
    load_state_dict(tensors, storage_reader=HuggingFaceStorageReader(str(folder)), no_dist=not dist.is_initialized())


@contextmanager
def _quiet() -> Iterator[None]:
    """torch warns about its own internals (typed storage, single-process saves) in every call."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
