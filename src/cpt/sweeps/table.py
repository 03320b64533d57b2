"""What a sweep found: its members as rows, best first; a CSV with a row a member; a summary in which seeds are one row."""

from __future__ import annotations

import csv
import io
import math
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from cpt import storage
from cpt.console import duration
from cpt.sweeps.members import Member, MemberState
from cpt.sweeps.sweep import Sweep

FILE = "sweep.csv"
SEED = "run.seed"
SHOWN_ROWS = 20
"""Of the summary; the CSV has all."""


@dataclass(frozen=True)
class Row:
    """Members that differ in their seed alone.

    Args:
        values: What they share, by axis.
        members: All of them.
        mean: Of the metric, over those that have one.
        spread: Its standard deviation; None for fewer than two.
        change: Mean change of the metric from the first step to the last.
    """

    values: dict[str, str]
    members: tuple[Member, ...]
    mean: float | None
    spread: float | None
    change: float | None


def value(member: Member, metric: str | None) -> float | None:
    """The metric of a member that is done; None where there is none, or it is not finite."""
    found = member.record.after(metric) if member.state in (MemberState.COMPLETED, MemberState.PRUNED) else None
    return found if found is not None and math.isfinite(found) else None


def rows(sweep: Sweep) -> list[Row]:
    """The sweep's rows: completed ones first, the lower the metric the better; then pruned ones, then those without a value."""
    metric, groups = sweep.metric, dict[tuple[tuple[str, str], ...], list[Member]]()
    for member in sweep.members:
        shared = tuple((key, value) for key, value in member.values.items() if key.lstrip("+") != SEED)
        groups.setdefault(shared, []).append(member)
    return sorted((_row(dict(shared), members, metric) for shared, members in groups.items()), key=_rank)


def best(sweep: Sweep) -> Row | None:
    """The best row so far."""
    return next((row for row in rows(sweep) if row.mean is not None), None)


def summary(sweep: Sweep) -> list[str]:
    """The closing table for a person."""
    found = rows(sweep)
    axes = [key for key in sweep.swept.axes if key.lstrip("+") != SEED]
    seeds = any(len(row.members) > 1 for row in found)
    head = [*axes, sweep.metric or "loss", "change", "steps", *(["seeds"] if seeds else []), "state"]
    lines = [
        [*(row.values[key] for key in axes), *_figures(row), *([str(len(row.members))] if seeds else []), _state(row)] for row in found
    ]
    shown = _aligned([head, *lines[:SHOWN_ROWS]])
    more = [f"... and {len(lines) - SHOWN_ROWS} more in sweep.csv"] if len(lines) > SHOWN_ROWS else []
    return [*shown, *more]


def swept_in(sweep: Sweep) -> list[str]:
    """The axes of the table that stands in the sweep's folder; empty where there is none."""
    place = storage.join(sweep.location, FILE)
    if not storage.exists(place):
        return []
    header = next(csv.reader(storage.read_bytes(place).decode().splitlines()), [])
    return header[1 : header.index("state")] if "state" in header else []


def as_csv(sweep: Sweep) -> str:
    """A row a member, best first: its overrides, state, steps, each loss before and after and its change, seconds, location."""
    losses = list(dict.fromkeys(name for member in sweep.members for name in member.record.losses))
    keys = list(sweep.swept.axes)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    figures = [f"{name} {when}" for name in losses for when in ("before", "after", "change")]
    writer.writerow(["member", *keys, "state", "steps", *figures, "seconds", "location", "error"])
    for member in (member for row in rows(sweep) for member in row.members):
        values = [member.values[key] for key in keys]
        numbers = [number for name in losses for number in _change(member, name)]
        record = member.record
        writer.writerow(
            [
                member.label,
                *values,
                member.state,
                record.steps,
                *numbers,
                f"{record.seconds:.1f}",
                member.run.uri(),
                "; ".join(member.error),
            ]
        )
    return text.getvalue()


def outcome(member: Member, metric: str | None) -> str:
    """How a member ended, in a few words."""
    if member.state is MemberState.FAILED:
        return f"failed: {member.error[0] if member.error else ''}"
    before, after = member.record.before(metric), member.record.after(metric)
    change = "" if before is None or after is None else f"  {metric} {before:.3f} → {after:.3f}"
    return f"{member.state}  {member.record.steps} steps in {duration(member.record.seconds)}{change}"


def _row(values: dict[str, str], members: list[Member], metric: str | None) -> Row:
    measured = [(found, member.record.before(metric)) for member in members if (found := value(member, metric)) is not None]
    after = [found for found, _ in measured]
    changes = [found - before for found, before in measured if before is not None]
    return Row(
        values,
        tuple(members),
        statistics.fmean(after) if after else None,
        statistics.stdev(after) if len(after) > 1 else None,
        statistics.fmean(changes) if changes else None,
    )


def _rank(row: Row) -> tuple[bool, bool, float]:
    pruned = any(member.state is MemberState.PRUNED for member in row.members)
    return row.mean is None, pruned, row.mean if row.mean is not None else 0.0


def _figures(row: Row) -> Iterator[str]:
    spread = f" ± {row.spread:.3f}" if row.spread is not None else ""
    yield f"{row.mean:.4f}{spread}" if row.mean is not None else "–"
    yield f"{row.change:+.4f}" if row.change is not None else "–"
    yield str(max(member.record.steps for member in row.members))


def _state(row: Row) -> str:
    counts: dict[str, int] = {}
    for member in row.members:
        counts[member.state] = counts.get(member.state, 0) + 1
    return next(iter(counts)) if len(counts) == 1 else ", ".join(f"{count} {state}" for state, count in counts.items())


def _change(member: Member, name: str) -> list[float | str]:
    before, after = member.record.before(name), member.record.after(name)
    return ["", "", ""] if before is None or after is None else [before, after, round(after - before, 9)]


def _aligned(table: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in table]
