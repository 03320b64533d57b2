"""`train` in a worker process: from a job to a run directory."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from torch.optim import Optimizer

from cpt import storage
from cpt.data.batches import evaluation_batches
from cpt.data.prepare import Prepared
from cpt.data.store import DocumentSet
from cpt.data.tokenizer import TextTokenizer
from cpt.errors import Interrupted, Preempted
from cpt.evaluation.compare import DocumentLosses
from cpt.evaluation.perplexity import document_losses, rows_in_flight
from cpt.job import Job, TrainOptions, Weights
from cpt.log import open_loggers
from cpt.metrics import MetricsFile
from cpt.model import checkpoint, hf
from cpt.model.decoder import Decoder
from cpt.model.init import init_weights
from cpt.recipe.schema import Recipe
from cpt.rundir import RunDirectory
from cpt.training.bookkeeping import Bookkeeper
from cpt.training.module import CptModule
from cpt.training.position import Losses, Position
from cpt.training.record import Recorder
from cpt.training.save import Saver
from cpt.training.signals import Stop, StopSignals
from cpt.training.steps import Steps
from cpt.training.strategy import FsdpStrategy, make_trainer

PROMPT_TOKENS = 32
"""Of the first validation document, where the recipe names no prompt."""


def train(job: Job) -> None:
    """Trains until the plan ends or a signal stops it.

    Raises:
        Interrupted, Preempted: Stopped by a signal; a checkpoint is committed.
        StorageError: The run cannot be written, for one because the disk is full.
    """
    assert job.recipe is not None
    assert job.weights is not None
    options, recipe = TrainOptions(**job.options), job.recipe
    rank, world_size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    prepared = Prepared.from_json(options.prepared)
    run, resume = RunDirectory.at(options.run), Path(options.resume) if options.resume else None
    position = Position.read(resume) if resume else Position()
    signals = StopSignals()
    module = CptModule(recipe, job.weights.architecture, options.total_steps, _filler(job.weights, resume, recipe.run.seed), signals)
    module.decoder.checkpoint_blocks = options.activation_checkpointing == "full"
    strategy = FsdpStrategy(options.dp_replicate, options.dp_shard, recipe.train.precision)
    recorder = _recorder(run, recipe, prepared, rank, options, position.step)
    saver = Saver(run, recipe, job.weights.architecture, prepared.tokenizer, rank)
    validator = _Validator(prepared, recipe.train.max_length, rank, world_size)
    bookkeeper = Bookkeeper(position, validator, recorder, saver, signals)
    trainer = make_trainer(strategy, [bookkeeper], int(os.environ.get("LOCAL_WORLD_SIZE", world_size)), recipe.cluster.nodes)
    steps = Steps(prepared.plan, position.step + 1, options.total_steps, rank, world_size, options.micro_batch)
    recorder.say("loading the weights")
    try:
        with storage.reported(str(run.local)):
            trainer.fit(module, steps.loader())
    finally:
        recorder.close()
    if rank == 0:
        run.publish()  # the events that closing the loggers has flushed
    _raise_if_stopped(bookkeeper, options.total_steps)


def _raise_if_stopped(bookkeeper: Bookkeeper, total_steps: int) -> None:
    message = f"committed at step {bookkeeper.position.step} of {total_steps}"
    if bookkeeper.stopped is Stop.INTERRUPTED:
        raise Interrupted(message)
    if bookkeeper.stopped is Stop.PREEMPTED:
        raise Preempted(message)


def _filler(weights: Weights, resume: Path | None, seed: int) -> Callable[[Decoder, Optimizer], None]:
    """What fills a sharded decoder and its optimizer: the checkpoint that the run goes on from, the base, or random numbers."""

    def fill(decoder: Decoder, optimizer: Optimizer) -> None:
        if resume is not None:
            checkpoint.load(resume, decoder, optimizer)
        elif weights.folder is None:
            init_weights(decoder, seed)
        elif weights.kind == "checkpoint":
            checkpoint.load(weights.folder, decoder)
        else:
            hf.load(weights.folder, decoder)

    return fill


class _Validator:
    """Measures every validation set of a run."""

    def __init__(self, prepared: Prepared, max_length: int, rank: int, world_size: int) -> None:
        self.sets, self.max_length, self.rank, self.world_size = prepared.validation, max_length, rank, world_size

    def __call__(self, module: CptModule) -> Losses:
        return {name: self._measure(module, documents) for name, documents in self.sets.items()}

    def _measure(self, module: CptModule, documents: DocumentSet) -> DocumentLosses:
        batches = evaluation_batches(documents, self.max_length, rows_in_flight(self.max_length), self.rank, self.world_size)
        return document_losses(module.decoder, batches, len(documents), module.device)


def _recorder(run: RunDirectory, recipe: Recipe, prepared: Prepared, rank: int, options: TrainOptions, step: int) -> Recorder:
    loggers = open_loggers(recipe.logger if rank == 0 else {}, run.local, options.run_name)
    if rank == 0:
        run.metrics.truncate_after(step)
        if run.samples_path.exists():
            MetricsFile(run.samples_path).truncate_after(step)
        loggers.start(recipe.kept(), step)
    tokenizer = prepared.tokenizer
    prompt = _prompt(recipe, prepared, tokenizer)
    return Recorder(run, loggers, rank, options.total_steps, tokenizer, prompt, recipe.eval.max_tokens)


def _prompt(recipe: Recipe, prepared: Prepared, tokenizer: TextTokenizer) -> list[int]:
    if recipe.eval.prompt is not None:
        return tokenizer.encode(recipe.eval.prompt)
    first = next(iter(prepared.validation.values()))
    return [int(token) for token in first.document(0)[:PROMPT_TOKENS]]
