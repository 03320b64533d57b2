"""One override in Hydra's grammar: read, refused with its cure, or taken apart as an axis of a sweep."""

from __future__ import annotations

import itertools
import math
import re
import shlex
from collections.abc import Iterable, Iterator
from functools import lru_cache

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Glob, IntervalSweep, Override, Quote, QuotedString, ValueType
from hydra.errors import HydraException

from cpt.contracts import Choices, Interval
from cpt.errors import Fault

MAX_VALUES = 10_000
"""Values of one axis; of more, one more than these is kept, for the message."""
INTERVAL_SWEEPERS = "a random or Optuna sweeper"
_HYDRA_CURES = {
    "hydra/launcher": "Use launcher=NAME",
    "hydra/sweeper": "Use sweeper=NAME",
    "hydra.run.dir": "Use run.output and run.name",
    "hydra.sweep.dir": "Use run.output and run.name",
    "hydra.searchpath": "Use --config-dir DIR",
}
_PLAIN_SWEEPS = (ValueType.CHOICE_SWEEP, ValueType.SIMPLE_CHOICE_SWEEP, ValueType.RANGE_SWEEP)


@lru_cache(maxsize=4096)
def parse(text: str) -> Override | Fault:
    """`text` in Hydra's grammar, or what is wrong with it and how to quote it."""
    try:
        return OverridesParser.create().parse_override(text)
    except (HydraException, RecursionError):
        pass
    key, equals, value = text.partition("=")
    if not equals:
        return Fault("override", text, "an override is group=option or key=value", "cpt train --help lists groups and options")
    if value[:1] in "[{" or not re.fullmatch(r"[~+]{0,2}[\w./@$-]+", key):
        return Fault(key, text, "Hydra's grammar cannot read this override", "Put quotes around the parts that hold special characters")
    quoted = f"{key}={QuotedString(value, Quote.double).with_quotes()}"
    return Fault(key, value, "Hydra's grammar cannot read this value without quotes", f"Write {shlex.quote(quoted)}")


def refused(override: Override, text: str) -> Fault | None:
    """The fault of an override that no recipe may hold."""
    key = override.key_or_group
    if re.split(r"[./@]", key)[0] == "hydra":
        return Fault(key, text, "Hydra's own configuration is not open to recipes", _HYDRA_CURES.get(key, "Remove it"))
    if override.package is not None:
        return Fault(f"{key}@{override.package}", text, "a group's place in the recipe is fixed", f"Use {key}=OPTION")
    return None


def sweep_fault(override: Override, text: str, is_group: bool) -> Fault | None:
    """The fault of several values where a single recipe is composed."""
    key, value = override.key_or_group, text.partition("=")[2]
    if not override.is_sweep_override():
        return None
    if override.value_type is ValueType.INTERVAL_SWEEP:
        return interval_fault(key, text)
    takes_lists = "(" not in value and (key == "logger" or not is_group)
    cure = f"Add -m to run each, or write {key}=[{value}] for a list" if takes_lists else "Add -m to run each"
    return Fault(key, value, "one run takes one value", cure)


def interval_fault(key: str, text: str) -> Fault:
    """The fault of an interval where members are not drawn."""
    return Fault(key, text, f"an interval needs {INTERVAL_SWEEPERS}", "Use -m with sweeper=random, or with choice(...) or range(...)")


def axis(override: Override, text: str, options: Iterable[str]) -> Choices | Interval | Fault:
    """What a sweep override varies over.

    Args:
        override: One whose `is_sweep_override()` is true.
        text: As typed.
        options: The options of its group, for `glob()`; empty for a key.
    """
    value = override.value()
    if isinstance(value, IntervalSweep):
        return _interval(value, override.key_or_group, text)
    values = tuple(dict.fromkeys(itertools.islice(_values(override, options), MAX_VALUES + 1)))
    return Choices(values) if values else Fault(override.key_or_group, text, "stands for nothing", "Name what there is")


def _interval(value: IntervalSweep, key: str, text: str) -> Interval | Fault:
    assert value.start is not None
    assert value.end is not None
    log, whole = "log" in value.tags, isinstance(value.start, int) and isinstance(value.end, int)
    if unknown := sorted(value.tags - {"log"}):
        return Fault(key, text, f"{unknown[0]} is no tag that a sweeper knows", "Use tag(log, interval(LOW, HIGH)), or no tag")
    if not (math.isfinite(value.start) and math.isfinite(value.end) and value.start < value.end):
        return Fault(key, text, "an interval's bounds are numbers, the lower one first", "Write interval(LOW, HIGH)")
    if log and value.start <= 0:
        return Fault(key, text, "a logarithmic interval begins above 0", "Raise its lower bound, or leave tag(log, ...) out")
    return Interval(value.start, value.end, log, whole)


def _values(override: Override, options: Iterable[str]) -> Iterator[str]:
    if override.value_type in _PLAIN_SWEEPS:
        yield from override.sweep_string_iterator()
    elif isinstance(pattern := override.value(), Glob):
        yield from pattern.filter(sorted(options))
