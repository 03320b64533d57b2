"""The rules of a recipe: the limits of its model, and what several keys must keep together.

A tree is read as it was composed, before it is typed, so that a wrong type in one place hides no fault in another. A rule says nothing
where a value that it needs is missing or of another type: that is a fault of its own (`cpt.recipe.build`).
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

from cpt.errors import Fault
from cpt.recipe import limits
from cpt.recipe.amazon_layout import is_share, layout, layout_of, leaves
from cpt.recipe.changes import did_you_mean
from cpt.recipe.limits import ModelClass
from cpt.recipe.locations import location_fault

AMAZON_WEIGHTS = re.compile(r"nova-[a-z0-9-]+/(prod|pretraining-[\w-]+)")
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
BUILT_IN_SOURCES = ("jsonl", "sample")
MLFLOW_NAMES = ("run.mlflow_experiment_name", "run.mlflow_run_name")
AXES = ("dp_replicate", "dp_shard")


class Tree:
    """A composed tree, read by dotted keys."""

    def __init__(self, tree: Mapping[str, Any]) -> None:
        self._tree = tree

    def value(self, key: str) -> Any:
        """What stands at `key`; None where nothing does."""
        node: Any = self._tree
        for part in key.split("."):
            node = node.get(part) if isinstance(node, Mapping) else None
        return node

    def has(self, key: str) -> bool:
        """Whether `key` stands in the tree, null included."""
        group, _, name = key.rpartition(".")
        parent = self.value(group)
        return isinstance(parent, Mapping) and name in parent

    def number(self, key: str) -> float | None:
        """The number at `key`; None where there is no number."""
        value = self.value(key)
        return value if isinstance(value, int | float) and not isinstance(value, bool) else None

    def text(self, key: str) -> str | None:
        """The text at `key`; None where there is no text."""
        value = self.value(key)
        return value if isinstance(value, str) else None

    @property
    def model(self) -> ModelClass:
        """Whose limits bind."""
        return limits.model_class(self.text("model.name"), self.text("model.type"))


def check(tree: Mapping[str, Any]) -> tuple[list[Fault], list[str]]:
    """Every fault of `tree` against the limits of its model and the rules between keys, and what to warn of."""
    view = Tree(tree)
    binding = limits.limits_of(view.model, limits.is_p5(view.text("cluster.instance_type")))
    faults, warnings = limits.faults_and_warnings(binding, {key: view.value(key) for key in binding})
    faults += [fault for rule in RULES for fault in rule(view)]
    return list({fault.where: fault for fault in reversed(faults)}.values())[::-1], warnings


def _type_is_the_presets(tree: Tree) -> Iterator[Fault]:
    name, type_ = tree.text("model.name"), tree.text("model.type")
    types = {model.type: preset for preset, model in limits.amazon_models().items()}
    wanted = limits.amazon_models().get(name or "")
    if wanted is not None and type_ != wanted.type:
        cure = f"Use model={types[type_]}" if type_ in types else f"Leave it {wanted.type}"
        yield Fault("model.type", str(type_), f"model={name} is {wanted.type}", cure)
    elif wanted is None and type_ is not None and (name in limits.models() or type_ not in types):
        yield Fault("model.type", str(type_), f"must be null or one of Amazon's types: {', '.join(map(str, types))}", "Leave it null")


def _weights_can_be_had(tree: Tree) -> Iterator[Fault]:
    init, name, model = tree.value("model.init"), tree.text("model.name"), tree.model
    shapeless = tree.has("model.architecture") and tree.value("model.architecture") is None
    if shapeless and init in (None, "random"):
        rule = "without model.architecture the shape is read from a base model"
        yield Fault("model.init", str(init or "null"), rule, "Name one: model.init=FOLDER, URL or ORG/NAME")
    elif init is None and model.type is None:
        how = "model.init=FOLDER or URL of a Hugging Face model, ORG/NAME of the hub, or random"
        yield Fault("model.init", "null", f"model={name} does not say where its weights come from", f"Give {how}")
    if init == "base" and not model.ships_weights:
        shipping = limits.listed([preset for preset, other in limits.models().items() if other.ships_weights])
        yield Fault("model.init", "base", f"only {shipping} ships weights", "Name a Hugging Face folder or URL, ORG/NAME, or random")
    if isinstance(init, str) and AMAZON_WEIGHTS.fullmatch(init):
        yield _amazons_weights(init, model)


def _amazons_weights(init: str, model: ModelClass) -> Fault:
    if model.base and init.partition("/")[0] != model.base.partition("/")[0]:
        return Fault(
            "model.init", init, f"{model.type} starts from {model.base}", "Use one model's type and base; model.init=null is its own"
        )
    cure = (
        "Use model.init=random or null; on export null is Amazon's own base"
        if model.base
        else "Use model.init=random or a model that you have"
    )
    return Fault("model.init", init, "Amazon does not publish these weights", cure)


def _rate_decays(tree: Tree) -> Iterator[Fault]:
    rate, lowest = tree.number("optim.lr"), tree.number("sched.min_lr")
    if rate is not None and lowest is not None and lowest >= rate:
        cure = f"Use sched.min_lr={rate / 10:g} or less" if 0 < rate <= 1 else ""
        yield Fault("sched.min_lr", str(lowest), f"must be less than optim.lr, {rate:g}", cure)


def _shape_holds(tree: Tree) -> Iterator[Fault]:
    shape = "model.architecture"
    heads, kv_heads, width = (tree.number(f"{shape}.{key}") for key in ("heads", "kv_heads", "head_width"))
    if heads and kv_heads and heads % kv_heads:
        yield Fault(f"{shape}.kv_heads", str(kv_heads), f"must divide the {heads} heads")
    if width and width % 2:
        yield Fault(f"{shape}.head_width", str(width), "must be even, for rotary positions")
    positions, length = tree.number(f"{shape}.positions"), tree.number("train.max_length")
    if positions and length and length > positions:
        yield Fault(
            "train.max_length", str(length), f"model={tree.text('model.name')} has {positions} positions", f"Use {positions} or less"
        )


def _run_ends(tree: Tree) -> Iterator[Fault]:
    if tree.value("train.max_epochs") is None and tree.value("train.max_steps") is None:
        yield Fault("train.max_steps", "null", "a run without max_epochs and max_steps has no end", "Give one of the two")


def _objective_fits(tree: Tree) -> Iterator[Fault]:
    if tree.text("train.objective") == "mlm":
        family = tree.text("model.architecture.family") or "this model"
        rule = f"masked LM is for encoders (BERT, ModernBERT), and {family} is a causal model"
        yield Fault("train.objective", "mlm", rule, "Use train.objective=causal_lm")


def _cluster_is_whole(tree: Tree) -> Iterator[Fault]:
    name = tree.text("cluster.name")
    if name != "local":
        if tree.value("cluster.processes") is not None:
            yield Fault(
                "cluster.processes",
                str(tree.value("cluster.processes")),
                f"is for cluster=local; {name} runs a process a GPU",
                "Leave it null",
            )
        if tree.value("cluster.gpus_per_node") is None:
            yield Fault("cluster.gpus_per_node", "null", f"must be given for cluster={name}")


def _mesh_fits(tree: Tree) -> Iterator[Fault]:
    sizes = {axis: size for axis in AXES if (size := tree.number(f"parallel.{axis}")) is not None and size >= 1}
    world, product = _world_size(tree), math.prod(sizes.values())
    if not sizes or world is None:
        return
    shown = " x ".join(f"{axis} {size:g}" for axis, size in sizes.items())
    if len(sizes) == len(AXES) and product != world:
        yield Fault(
            "parallel", f"{shown} = {product:g}", f"must be the {world:g} processes of the cluster", "Leave dp_shard null to have it chosen"
        )
    elif world % product:
        yield Fault(
            "parallel", f"{shown} = {product:g}", f"must divide the {world:g} processes of the cluster", "Leave it null to have it chosen"
        )


def _world_size(tree: Tree) -> float | None:
    """Processes of the run; None where only the machine will tell."""
    if tree.text("cluster.name") == "local" and tree.value("cluster.processes") is not None:
        processes = tree.number("cluster.processes")
    else:
        processes = tree.number("cluster.gpus_per_node")
    nodes = tree.number("cluster.nodes")
    return nodes * processes if nodes and processes else None


def _locations_are_safe(tree: Tree) -> Iterator[Fault]:
    single = {key: tree.value(key) for key in ("run.output", "data.store", "tokenizer.path", "model.init")}
    sets = tree.value("data.validation")
    named = {f"data.validation.{name}": value for name, value in sets.items()} if isinstance(sets, Mapping) else {"data.validation": sets}
    if sets == {}:
        yield Fault("data.validation", "{}", "must name at least one set", "Leave it null to have documents held out")
    for key, value in {**single, "data.train": tree.value("data.train"), **named}.items():
        texts = value if isinstance(value, list | tuple) else [value]
        if value is not None and not texts:
            yield Fault(key, "[]", "must name at least one location", "Leave it null for none" if key == "data.validation" else "")
        yield from (fault for text in texts if isinstance(text, str) and (fault := location_fault(key, text)))


def _data_is_named(tree: Tree) -> Iterator[Fault]:
    if tree.value("data.train") is None and tree.text("data.source") in BUILT_IN_SOURCES:
        yield Fault("data.train", "null", "must name what is learned from", "Give data.train=FILE.jsonl, a list, glob or URL")


def _tokenizer_is_named(tree: Tree) -> Iterator[Fault]:
    name, path = tree.text("tokenizer.name"), tree.text("tokenizer.path")
    if name == "file" and tree.value("tokenizer.path") is None:
        yield Fault(
            "tokenizer.path",
            "null",
            "tokenizer=file needs a path",
            "Give tokenizer.path=FOLDER, or tokenizer=auto for the base model's own",
        )
    if name == "bytes" and path is not None:
        yield Fault("tokenizer.path", path, "tokenizer=bytes reads no file", "Use tokenizer=file")


def _names_are_names(tree: Tree) -> Iterator[Fault]:
    for group, role in (("logger", "logger"), ("data.validation", "set")):
        entries = tree.value(group)
        for name in entries if isinstance(entries, Mapping) else ():
            if not NAME.fullmatch(str(name)):
                yield Fault(f"{group}.{name}", "", f"must be named by letters, digits, dashes, dots and underscores: it names a {role}")


def _metric_is_measured(tree: Tree) -> Iterator[Fault]:
    metric, sets = tree.text("sweeper.metric"), tree.value("data.validation")
    names = list(map(str, sets)) if isinstance(sets, Mapping) else ["held_out" if sets is None else "validation"]
    measured = ["train/loss", *(f"validation/{name}/loss" for name in names)]
    if metric is not None and metric.startswith("validation/") and metric not in measured:
        rule = f"is not measured: this recipe validates on {', '.join(names)}"
        yield Fault("sweeper.metric", metric, rule, f"Use {limits.listed(measured)}")


def _amazons_keys_are_known(tree: Tree) -> Iterator[Fault]:
    given, its_layout = tree.value("amazon"), layout_of(tree.model.type)
    carried = its_layout.carried if tree.model.type else layout("nova_2").carried  # an open model may keep what either layout brought
    for key, value in leaves(given, carried) if isinstance(given, Mapping) else ():
        where = f"amazon.{key}"
        if key in its_layout.fixed:
            cure = f"Use {its_layout.fixed[key]}"
            yield Fault(where, str(value), f"must be {its_layout.fixed[key]} in a recipe for continued pre-training", cure)
        elif key in its_layout.ours and not is_share(key, value):
            yield Fault(where, str(value), "has a counterpart here", f"Use {its_layout.ours[key]}")
        elif key in MLFLOW_NAMES and not value:
            yield Fault(where, str(value or ""), "must not be empty", "Name it, or leave the key out")
        elif key not in carried:
            near = did_you_mean(key, [*its_layout.order, *carried])
            yield Fault(
                where, str(value), "is not a key of Amazon's recipe for this model", f"Did you mean {near}?" if near else "Remove it"
            )


RULES = (
    _type_is_the_presets,
    _weights_can_be_had,
    _rate_decays,
    _shape_holds,
    _run_ends,
    _objective_fits,
    _cluster_is_whole,
    _mesh_fits,
    _locations_are_safe,
    _data_is_named,
    _tokenizer_is_named,
    _names_are_names,
    _metric_is_measured,
    _amazons_keys_are_known,
)
