"""The limits of single keys: `limits.yaml` read, chosen by model, and held against a value."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

import yaml

from cpt.errors import Fault

INTERVAL = re.compile(r"([\[(])\s*([^,\s]+),\s*([^,\s]+?)\s*([\])])")


@dataclass(frozen=True)
class Interval:
    """An interval as mathematicians write it: `[0, 1)` has 0 and not 1."""

    text: str
    low: str
    high: str
    with_low: bool
    with_high: bool

    @classmethod
    def parse(cls, text: str) -> Interval:
        """The interval that `text` writes."""
        match = INTERVAL.fullmatch(text)
        assert match, f"limits.yaml: {text} is no interval"
        left, low, high, right = match.groups()
        return cls(text, low, high, left == "[", right == "]")

    def __contains__(self, number: float) -> bool:
        low, high = float(self.low), float(self.high)
        return low < number < high or (self.with_low and number == low) or (self.with_high and number == high)

    def __str__(self) -> str:
        if math.isinf(float(self.high)):
            return f"be {'at least' if self.with_low else 'greater than'} {self.low}"
        return f"lie in {self.text}"


@dataclass(frozen=True)
class Limit:
    """What one key may hold; the names are those of `limits.yaml`."""

    range: str | None = None
    allowed: tuple[Any, ...] = ()
    pattern: str | None = None
    advised: str | None = None
    rule: str = ""
    cure: str = ""
    unit: str = ""
    cluster: str | None = None

    def admits(self, value: Any) -> bool:
        """Whether `value` keeps the limit; a value of a type that the limit does not speak of does."""
        if self.pattern is not None:
            return not isinstance(value, str) or bool(re.fullmatch(self.pattern, value))
        if self.allowed:
            return type(value) is not type(self.allowed[0]) or value in self.allowed
        return self.range is None or all(number in Interval.parse(self.range) for number in _numbers(value))

    def advises(self, value: Any) -> bool:
        """Whether `value` lies where it is advised to."""
        return self.advised is None or all(number in Interval.parse(self.advised) for number in _numbers(value))

    @property
    def wording(self) -> str:
        """The rule in words: `must lie in [0, 1]; 1e-6 to 1e-4 is advised`."""
        if self.rule:
            return self.rule
        bounds = str(Interval.parse(self.range)) if self.range else f"be {listed(self.allowed)}"
        unit = f" {self.unit}" if self.unit else ""
        return f"must {bounds}{unit}{f'; {self.advice}' if self.advised else ''}"

    @property
    def advice(self) -> str:
        """The advised interval in words."""
        interval = Interval.parse(self.advised or "")
        return f"{interval.low} to {interval.high} is advised"


@dataclass(frozen=True)
class ModelClass:
    """A preset, or all open ones, in `limits.yaml`."""

    tables: tuple[str, ...]
    title: str = ""
    type: str | None = None
    """Amazon's model type."""
    base: str | None = None
    """Where Amazon's engine starts from."""
    nodes: int = 0
    """Nodes of Amazon's own recipe."""
    ships_weights: bool = False


def models() -> Mapping[str, ModelClass]:
    """Every model that has limits of its own, by its preset's name; `open` for all others."""
    return _read()[0]


def amazon_models() -> Mapping[str, ModelClass]:
    """Amazon's models, by their presets' names."""
    return {name: model for name, model in models().items() if model.type}


def model_class(name: str | None, type_: str | None) -> ModelClass:
    """Whose limits bind: the preset's, else those of the Amazon type that a preset of the user's own claims, else the open models'."""
    if name is not None and name in models():
        return models()[name]
    return next((model for model in amazon_models().values() if model.type == type_), models()["open"])


def limits_of(model: ModelClass, on_p5: bool) -> dict[str, Limit]:
    """The limits that bind `model`, by dotted key.

    Args:
        model: Whose limits.
        on_p5: Whether the cluster is of P5 instances; the limits of such clusters are left out where it is not.
    """
    tables = _read()[1]
    return {key: limit for table in ("all", *model.tables) for key, limit in tables[table].items() if on_p5 or limit.cluster is None}


def is_p5(instance_type: str | None) -> bool:
    """Whether a node of that type is one of Amazon's P5 instances, on which its numbers of nodes bind."""
    return (instance_type or "").removeprefix("ml.").startswith("p5")


def listed(values: Sequence[Any]) -> str:
    """`6, 12 or 24`."""
    *most, last = map(str, values)
    return f"{', '.join(most)} or {last}" if most else last


@cache
def _read() -> tuple[dict[str, ModelClass], dict[str, dict[str, Limit]]]:
    data = yaml.load(resources.files("cpt.recipe").joinpath("limits.yaml").read_text(), getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506
    return (
        {name: ModelClass(**{**entry, "tables": tuple(entry["tables"])}) for name, entry in data["models"].items()},
        {
            name: {key: Limit(**{**limit, "allowed": tuple(limit.get("allowed", ()))}) for key, limit in table.items()}
            for name, table in data["tables"].items()
        },
    )


def faults_and_warnings(limits: Mapping[str, Limit], values: Mapping[str, Any]) -> tuple[list[Fault], list[str]]:
    """Which of `values` (dotted keys) break a limit, and which only an advice; null breaks none."""
    faults, warnings = [], []
    for key, limit in limits.items():
        value = values.get(key)
        if value is None:
            continue
        if not limit.admits(value):
            faults.append(Fault(key, str(value), limit.wording, limit.cure))
        elif not limit.advises(value):
            warnings.append(f"{key}: {value}: {limit.advice}")
    return faults, warnings


def _numbers(value: Any) -> Iterator[float]:
    for item in value if isinstance(value, list | tuple) else [value]:
        if isinstance(item, int | float) and not isinstance(item, bool):
            yield item
