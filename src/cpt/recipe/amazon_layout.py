"""The two layouts of Amazon's recipe: `amazon.yaml` read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any, Literal

import yaml

LayoutName = Literal["nova_1", "nova_2"]
INTERVAL = "training_config.trainer.val_check_interval"


@dataclass(frozen=True)
class Layout:
    """One layout.

    Args:
        ours: Our key by Amazon's, in Amazon's order.
        fixed: The value that one of Amazon's keys must have, by key.
        order: All of Amazon's keys that have a place of their own.
        carried: Amazon's keys that have no counterpart here.
        neutral: The value that one of our keys without counterpart there must have, by key.
    """

    ours: Mapping[str, str]
    fixed: Mapping[str, Any]
    order: tuple[str, ...]
    carried: frozenset[str]
    neutral: Mapping[str, Any]


@cache
def layout(name: LayoutName) -> Layout:
    """The layout of that generation of Nova."""
    data = _data()
    keys = data["layouts"][name]
    return Layout(
        ours={key: ours for key, ours in keys.items() if isinstance(ours, str)},
        fixed={key: ours["is"] for key, ours in keys.items() if isinstance(ours, dict)},
        order=tuple(keys),
        carried=frozenset(data["carried"]["all"] + data["carried"][name]),
        neutral=data["neutral"]["all"] | data["neutral"][name],
    )


def layout_of(model_type: str | None) -> Layout:
    """The layout that Amazon's `model_type` has."""
    return layout("nova_2" if (model_type or "").startswith("amazon.nova-2-") else "nova_1")


def descriptive() -> frozenset[str]:
    """Our keys that say nothing about the training itself, and so need no counterpart."""
    return frozenset(_data()["descriptive"])


def is_share(key: str, value: object) -> bool:
    """Whether `value` is Amazon's validation interval as a share of an epoch: here an interval is steps."""
    return key == INTERVAL and isinstance(value, float) and 0 < value <= 1


def leaves(tree: Mapping[str, Any], whole: frozenset[str], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Every value of `tree` by dotted key; the keys in `whole` are values even where they hold mappings."""
    for name, value in tree.items():
        key = f"{prefix}{name}"
        if isinstance(value, Mapping) and key not in whole:
            yield from leaves(value, whole, f"{key}.")
        else:
            yield key, value


def put(tree: dict[str, Any], key: str, value: Any) -> None:
    """Sets dotted `key` in nested `tree`."""
    *groups, name = key.split(".")
    for group in groups:
        tree = tree.setdefault(group, {})
    tree[name] = value


@cache
def _data() -> dict[str, Any]:
    text = resources.files("cpt.recipe").joinpath("amazon.yaml").read_text()
    return yaml.load(text, getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # type: ignore[no-any-return]  # noqa: S506
