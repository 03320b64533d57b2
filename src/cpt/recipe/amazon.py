"""Amazon's own recipes for continued pre-training of Nova, in and out: nothing is lost, or it is refused by name.

In: a value moves to its key here, and a key without counterpart moves under `amazon`, where the rules refuse what is on no list
(`cpt.recipe.rules`), with every other fault of the recipe and after overrides had their chance. Out: our keys without counterpart must
have the value that Amazon's presets compose to.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from importlib import resources
from typing import Any

import yaml

from cpt.errors import Fault, RecipeError
from cpt.recipe import limits
from cpt.recipe.amazon_layout import INTERVAL, Layout, is_share, layout_of, leaves, put
from cpt.recipe.changes import did_you_mean
from cpt.recipe.document import Dumper, is_word
from cpt.recipe.gate import read_yaml, walk
from cpt.recipe.limits import ModelClass
from cpt.recipe.schema import Recipe

PATHS = ("data.train", "run.output")
PLACEHOLDER = re.compile(r"\bS3_PATH_TO_\w+")
ONE_FILE = re.compile(r"s3://[^*?\[\]]+\.jsonl")


def is_amazon(tree: Mapping[str, Any]) -> bool:
    """Whether `tree` is a recipe of Amazon's, by its keys."""
    run = tree.get("run")
    return "training_config" in tree or (isinstance(run, Mapping) and "model_type" in run)


def from_amazon(tree: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Amazon's recipe in our keys: a partial tree to lay over the options that `model.name`, `cluster.name` and `data.source` name.

    A path that is missing, empty or still the placeholder of Amazon's page is `""`, which the rules refuse unless an override fills it.

    Args:
        tree: Amazon's recipe, of either layout.
        where: What to call it in faults: the file's name.

    Raises:
        RecipeError: `run.model_type` is none of Amazon's, or a key holds a dot.
    """
    if dotted := [str(path[-1]) for path, _ in walk(tree) if path and "." in str(path[-1])]:
        raise RecipeError.of(Fault(f"{where}: {key}", "", "a key holds no dot", "Nest it") for key in dotted)
    preset, model = _preset(tree, where)
    layout = layout_of(model.type)
    ours: dict[str, Any] = {"model": {"name": preset}, "cluster": {"name": f"p5x{model.nodes}"}, "data": {"source": "jsonl", "train": ""}}
    ours |= {"run": {"output": ""}}
    for key, value in leaves(tree, layout.carried):
        if key in layout.ours and not is_share(key, value):
            put(ours, layout.ours[key], _imported(layout.ours[key], value, model))
        elif layout.fixed.get(key) != value:
            put(ours, f"amazon.{key}", value)
        if is_share(key, value) and key in layout.carried:
            put(ours, "train.validate_every", None)
    return _finished(ours, preset)


def to_amazon(recipe: Recipe) -> dict[str, Any]:
    """`recipe` as Amazon's engine takes it, in the layout of its model.

    Raises:
        RecipeError: It asks for something that Amazon's recipe cannot say; each key named.
    """
    if recipe.model.name not in limits.amazon_models():
        names = limits.listed(list(limits.amazon_models()))
        raise RecipeError("model.name", recipe.model.name, f"only {names} are Amazon's", "An open model trains here: cpt train")
    model = limits.amazon_models()[recipe.model.name]
    layout, values = layout_of(model.type), recipe.model_dump(mode="json")
    if faults := [*_departures(values, layout), *_path_faults(recipe), *_cluster_faults(recipe), *_interval_faults(recipe)]:
        raise RecipeError.of(faults)
    tree: dict[str, Any] = {}
    for key in layout.order:
        put(tree, key, layout.fixed[key] if key in layout.fixed else _exported(layout.ours[key], values, model))
    for key, value in leaves(recipe.amazon, layout.carried):
        put(tree, key, value)
    return _without_unset(tree, layout)


def render(tree: Mapping[str, Any]) -> str:
    """`tree` as YAML, in its order, that readers of YAML 1.1 and 1.2 read back to the same values: `1.0e-05`, texts in quotes."""
    return yaml.dump(dict(tree), Dumper=_Dumper, sort_keys=False, allow_unicode=True, default_flow_style=False, width=1_000_000)


def _preset(tree: Mapping[str, Any], where: str) -> tuple[str, ModelClass]:
    run = tree.get("run")
    type_ = run.get("model_type") if isinstance(run, Mapping) else None
    for name, model in limits.amazon_models().items():
        if model.type == type_:
            return name, model
    types = [str(model.type) for model in limits.amazon_models().values()]
    near = did_you_mean(str(type_), types)
    rule = f"must be one of {', '.join(types)}"
    raise RecipeError(f"{where}: run.model_type", str(type_ or ""), rule, f"Did you mean {near}?" if near else "")


def _imported(key: str, value: Any, model: ModelClass) -> Any:
    if key in PATHS and (value is None or PLACEHOLDER.search(str(value))):
        return ""
    if key == "data.validation" and (value == "" or PLACEHOLDER.search(str(value))):
        return None
    return None if key == "model.init" and value == model.base else value


def _finished(ours: dict[str, Any], preset: str) -> dict[str, Any]:
    """`ours` with what only several of Amazon's keys together say."""
    ours["data"].setdefault("validation", None)
    nodes = ours["cluster"].get("nodes")
    if nodes in limits.limits_of(limits.amazon_models()[preset], on_p5=True)["cluster.nodes"].allowed:
        ours["cluster"]["name"] = f"p5x{nodes}"
    betas = ours.get("optim", {}).get("betas")
    if isinstance(betas, dict):
        ours["optim"]["betas"] = [betas[index] for index in sorted(betas)]
    return ours


def _departures(values: Mapping[str, Any], layout: Layout) -> Iterator[Fault]:
    for key, neutral in layout.neutral.items():
        if (value := _at(values, key)) != neutral:
            yield Fault(key, _shown(value), "has no counterpart in Amazon's recipe", f"Leave it {_shown(neutral)} for export")
    name, shape = values["model"]["name"], values["model"]["architecture"]
    preset = read_yaml(resources.files("cpt.conf").joinpath(f"model/{name}.yaml").read_text(), name)["model"]["architecture"]
    if differing := [key for key in preset if not shape or shape[key] != preset[key]]:
        yield Fault("model.architecture", ", ".join(differing), "Amazon's model has its own shape", f"Leave it as model={name} has it")


def _path_faults(recipe: Recipe) -> Iterator[Fault]:
    for key, value in (("data.train", recipe.data.train), ("data.validation", recipe.data.validation)):
        optional = key == "data.validation"
        if not (isinstance(value, str) and ONE_FILE.fullmatch(value)) and not (optional and value is None):
            cure = f"Give {key}=s3://BUCKET/FILE.jsonl{', or null' if optional else ''}"
            yield Fault(key, _shown(value), "Amazon reads one JSONL file on S3", cure)
    if not recipe.run.output.startswith("s3://"):
        yield Fault("run.output", recipe.run.output, "Amazon writes to S3", "Give run.output=s3://BUCKET/FOLDER")
    init = recipe.model.init
    if init is not None and (not init.startswith("s3://") or init.endswith(".json")):
        rule = "Amazon starts from its own base or from a checkpoint of an earlier job of its own"
        yield Fault("model.init", init, rule, "Use model.init=null, or that job's run or manifest.json")


def _cluster_faults(recipe: Recipe) -> Iterator[Fault]:
    if not limits.is_p5(recipe.cluster.instance_type):
        cure = f"Use cluster=p5x{limits.amazon_models()[recipe.model.name].nodes}"
        yield Fault("cluster.name", recipe.cluster.name, "Amazon trains Nova on P5 instances", cure)
    elif recipe.cluster.gpus_per_node != 8:
        yield Fault(
            "cluster.gpus_per_node", str(recipe.cluster.gpus_per_node), "a P5 instance has 8 GPUs, and Amazon uses them all", "Use 8"
        )


def _interval_faults(recipe: Recipe) -> Iterator[Fault]:
    if recipe.train.validate_every is not None and INTERVAL in dict(leaves(recipe.amazon, frozenset(["data_mixing"]))):
        yield Fault(
            "train.validate_every", str(recipe.train.validate_every), f"amazon.{INTERVAL} says it otherwise", "Leave one of them null"
        )


def _exported(key: str, values: Mapping[str, Any], model: ModelClass) -> Any:
    value = _at(values, key)
    if key == "model.init":
        return model.base if value is None else value
    if key == "run.name" and value is None:
        digest = hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()
        return f"{values['model']['name'].replace('_', '-')}-{digest[:8]}"
    return value


def _without_unset(tree: dict[str, Any], layout: Layout) -> dict[str, Any]:
    """`tree` without what is not given: Nova 1's own files leave the key of a validation set out, Nova 2's leave it empty."""
    if tree["run"]["validation_data_s3_path"] is None:
        if "training_config.task_type" in layout.fixed:
            tree["run"]["validation_data_s3_path"] = ""
        else:
            del tree["run"]["validation_data_s3_path"]
    if tree["training_config"]["trainer"].get("val_check_interval", "") is None:
        del tree["training_config"]["trainer"]["val_check_interval"]
    return tree


def _at(values: Mapping[str, Any], key: str) -> Any:
    node: Any = values
    for part in key.split("."):
        node = node[int(part)] if isinstance(node, list) else node[part]
    return node


def _shown(value: object) -> str:
    return "null" if value is None else str(value)


class _Dumper(Dumper):
    """Writes texts as Amazon does: in double quotes, plain words of small letters excepted."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> Any:  # noqa: ARG002
        """Indents lists under their key."""
        return super().increase_indent(flow, False)


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    is_plain = re.fullmatch(r"[a-z][a-z0-9_]*", text) and is_word(text)
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=None if is_plain else '"')


_Dumper.add_representer(str, _text)
