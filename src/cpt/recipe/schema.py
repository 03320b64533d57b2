"""The typed recipe: what `conf/` composes to, frozen and strict. Its keys are the keys a person types."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field, PrivateAttr

from cpt.recipe.architecture import Architecture
from cpt.recipe.frozen import Frozen

Location = str
"""A file, folder, glob or URL, or a name that the data source knows."""
Locations = Location | tuple[Location, ...]


class Run(Frozen):
    name: str | None
    """Name of the run's folder; null: `<model>-<8 hex digits of the identity>`."""
    output: str
    """Folder or URL that holds runs."""
    seed: int = Field(ge=0, lt=2**32)
    """Decides random weights, order and dropout."""


class Model(Frozen):
    name: str
    """The preset's name."""
    type: str | None
    """Amazon's model type; null for open models."""
    init: str | None
    """Where the weights come from: `base`, `random`, a Hugging Face folder or URL, `ORG/NAME`, an earlier run or checkpoint."""
    note: str | None
    """What a reader of the plan must know about the preset."""
    hidden_dropout: float
    """Probability, on the embedding's and each attention block's output."""
    attention_dropout: float
    """Probability, on the attention weights."""
    ffn_dropout: float
    """Probability, on each feed-forward block's output."""
    architecture: Architecture | None
    """Null: read from the config.json of `init` (`model=auto`)."""


class Optim(Frozen):
    name: Literal["distributed_fused_adam", "adamw"]
    """`distributed_fused_adam`: torch's fused Adam on sharded parameters. `adamw`: the same mathematics, unfused."""
    lr: float
    """Peak learning rate."""
    betas: tuple[float, float]
    """Decay of the running means of the gradient and of its square."""
    eps: float
    """Added to the denominator of the update."""
    weight_decay: float
    """On matrices and embeddings, not on norms and biases."""
    adam_w_mode: bool
    """True: decoupled decay (AdamW). False: L2 added to the gradient (Adam)."""


class Sched(Frozen):
    name: Literal["cosine", "wsd", "constant"]
    """`cosine`: warm-up, cosine decay, hold at min_lr. `wsd`: warm-up, hold at lr, decay. `constant`: warm-up, hold at lr."""
    warmup_steps: int
    """Steps of linear warm-up."""
    constant_steps: int
    """Steps held: at min_lr at the end (`cosine`); at lr before the decay (`wsd`, 0: four fifths of the run)."""
    min_lr: float
    """The rate that the decay ends at."""


class Train(Frozen):
    objective: Literal["causal_lm", "mlm"]
    """`causal_lm`: the next token. `mlm`: masked tokens, for encoders; refused for causal families."""
    max_length: int
    """Tokens in a sequence."""
    global_batch_size: int
    """Sequences in an optimizer step, over all ranks."""
    max_epochs: int | None
    """Passes over the data; null: no limit."""
    max_steps: int | None
    """Optimizer steps; null: no limit. The smaller of the two limits ends the run."""
    micro_batch_size: int | Literal["auto"]
    """Sequences in one forward pass of a rank."""
    precision: Literal["fp32", "bf16"]
    """Of the forward and backward pass; weights, reductions and optimizer are fp32."""
    clip_norm: float | None
    """Largest L2 norm of the gradient; null: not clipped."""
    validate_every: int | None
    """Steps between validations; null: only before the first and after the last step."""
    log_every: int
    """Steps between rows of metrics."""


class Data(Frozen):
    source: str
    """Name of the data source plugin."""
    train: Locations | None
    """What is learned from."""
    validation: Locations | dict[str, Locations] | None
    """One set, or named sets; null: documents are held out of `train`."""
    options: dict[str, Any]
    """The data source's own settings."""
    store: str | None
    """Folder or URL of token stores; null: `$CPT_STORE`, else `cpt/stores` in the user's cache folder."""


class Tokenizer(Frozen):
    name: Literal["auto", "bytes", "file"]
    """`auto`: the base model's own, else bytes. `file`: `path`."""
    path: str | None
    """A tokenizer.json, or a folder or URL with one."""
    bos: bool | None
    """A first token for every document: true, false, or (null) as the tokenizer's own post-processor does."""
    eos: str | int | None
    """The token that ends a document; null: as the base's configuration says."""


class Cluster(Frozen):
    name: str
    """The option's name."""
    nodes: int
    """Machines; 1 on `local`."""
    gpus_per_node: int | None
    """Null on `local`: those of this machine."""
    processes: int | None
    """Processes on this machine (`local` only); null: a process a GPU, else 1."""
    instance_type: str | None
    """The provider's name of a node."""
    gpu: str | None
    """The GPU's name."""
    memory_gb: float | None
    """Memory of one GPU in GB."""
    tflops: float | None
    """Dense bf16 peak of one GPU in TFLOP/s."""
    price_per_node_hour: float | None
    """US dollars, on demand."""


class Parallel(Frozen):
    dp_replicate: int | None
    """Replicas of the sharded model; null: chosen."""
    dp_shard: int | None
    """Ranks that share one replica; null: chosen."""
    cp: int | None
    """Ranks that share a sequence (context parallel); null: 1."""
    tp: int | None
    """Ranks that share each matrix (tensor parallel); null: 1."""
    activation_checkpointing: Literal["none", "full"] | None
    """`full`: each block is recomputed in the backward pass. Null: chosen from the plan's memory."""


class Launcher(Frozen):
    name: str
    """`auto`, `local`, or a launcher plugin's name."""
    options: dict[str, Any]
    """The launcher's own settings."""


class Checkpoint(Frozen):
    every: int
    """Steps between checkpoints."""
    keep: int
    """Checkpoints kept besides the best."""


class Eval(Frozen):
    prompt: str | None
    """Text that the sample before and after continues; null: the beginning of the first validation document."""
    max_tokens: int
    """Tokens of the sample; 0: no sample."""


class Sweeper(Frozen):
    name: str
    """`grid`, `random`, or a sweeper plugin's name."""
    options: dict[str, Any]
    """The sweeper's own settings."""
    parallel: int | None
    """Members that run at once; null: on this machine what its cores or GPUs allow, elsewhere all."""
    seed: int = Field(ge=0, lt=2**32)
    """Decides what a sweeper draws."""
    metric: str | None
    """The loss that members are compared by, as metrics.jsonl names it; null: that of the first validation set."""


class Recipe(Frozen):
    """One experiment. Build it with `cpt.compose`; every key was checked against the limits of its model."""

    run: Run
    model: Model
    optim: Optim
    sched: Sched
    train: Train
    data: Data
    tokenizer: Tokenizer
    cluster: Cluster
    parallel: Parallel
    launcher: Launcher
    logger: dict[str, dict[str, Any]]
    """Loggers by name, each with its own settings."""
    checkpoint: Checkpoint
    eval: Eval
    sweeper: Sweeper
    amazon: dict[str, Any]
    """Keys of Amazon's recipe that have no counterpart here, carried verbatim for export."""
    _environment: dict[str, str] = PrivateAttr(default_factory=dict)

    @property
    def environment(self) -> dict[str, str]:
        """The values that came from the environment: the interpolation by its dotted key."""
        return self._environment

    def read_from_environment(self, interpolations: Mapping[str, str]) -> Recipe:
        """Marks values as read from the environment, so that `kept` does not hold them; returns the recipe."""
        self._environment.update(interpolations)
        return self

    def kept(self) -> dict[str, Any]:
        """The recipe as plain data for files that others may read: what came from the environment stays an interpolation."""
        tree = self.model_dump(mode="json")
        for key, interpolation in self._environment.items():
            *path, last = key.split(".")
            node: Any = tree
            for part in path:
                node = node[int(part) if isinstance(node, list) else part]
            node[int(last) if isinstance(node, list) else last] = interpolation
        return tree
