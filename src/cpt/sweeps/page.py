"""`sweep.html`: one page that needs no network, with every member's settings, loss and curves."""

from __future__ import annotations

import html
import json
import math
from collections.abc import Mapping
from importlib import resources
from typing import Any

from cpt.contracts import Interval
from cpt.sweeps import table
from cpt.sweeps.members import Member, MemberState
from cpt.sweeps.sweep import Sweep

POINTS, POINTS_OF_ALL = 200, 60_000
"""Of a curve, at most; of all curves of one loss together, so that a thousand members stay a page of a few megabytes."""


def page(sweep: Sweep) -> str:
    """The page as it stands now. Whatever a recipe holds is data in it, and never markup."""
    data = json.dumps(_data(sweep), ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    template = resources.files("cpt.sweeps").joinpath("page.html").read_text("utf-8")
    safe = data.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
    before, after = template.replace("__TITLE__", html.escape(f"{sweep.name} · cpt sweep")).split("__DATA__")
    return f"{before}{safe}{after}"


def _data(sweep: Sweep) -> dict[str, Any]:
    rows, metric = table.rows(sweep), sweep.metric
    members = [member for row in rows for member in row.members]
    losses = dict.fromkeys(name for member in members for name in member.record.losses)
    points = max(20, min(POINTS, POINTS_OF_ALL // max(1, len(members))))
    return {
        "name": sweep.name,
        "metric": metric,
        "axes": [(key, axis.log if isinstance(axis, Interval) else None) for key, axis in sweep.swept.axes.items()],
        "losses": sorted(losses, key=lambda name: (not name.startswith("validation/"), name)),
        "facts": _facts(sweep),
        "members": [_member(member, metric, points) for member in members],
        "seeds": [_seeds(row) for row in rows] if any(len(row.members) > 1 for row in rows) else [],
    }


def _facts(sweep: Sweep) -> list[tuple[str, str]]:
    """What the head of the page says: figure and word."""
    counts = {state: sum(member.state is state for member in sweep.members) for state in MemberState}
    facts = [(f"{counts[MemberState.COMPLETED]} of {sweep.size}", "members completed")]
    facts += [(str(counts[state]), state) for state in MemberState if state is not MemberState.COMPLETED and counts[state]]
    if best := table.best(sweep):
        values = " ".join(f"{key}={value}" for key, value in best.values.items())
        facts.append((f"{best.mean:.4f}", f"{sweep.metric}, the best: {values}"))
    return facts


def _member(member: Member, metric: str | None, points: int) -> dict[str, Any]:
    value, before = table.value(member, metric), member.record.before(metric)
    return {
        "label": member.label,
        "values": dict(member.values),
        "state": member.state,
        "error": member.error[0] if member.error else "",
        "steps": member.record.steps,
        "seconds": round(member.record.seconds, 1),
        "value": value,
        "change": value - before if value is not None and before is not None and math.isfinite(before) else None,
        "curves": {name: _curve(values, points) for name, values in member.record.losses.items()},
    }


def _curve(values: Mapping[int, float], points: int) -> tuple[list[int], list[float]]:
    """Steps and losses, thinned to `points` and always with the last."""
    finite = [(step, float(f"{value:.5g}")) for step, value in values.items() if math.isfinite(value)]
    stride = max(1, math.ceil(len(finite) / points))
    kept = [*finite[::stride], *(finite[-1:] if (len(finite) - 1) % stride else [])]
    return [step for step, _ in kept], [value for _, value in kept]


def _seeds(row: table.Row) -> dict[str, Any]:
    return {"values": row.values, "mean": row.mean, "spread": row.spread, "change": row.change, "count": len(row.members)}
