"""What a person sees of a sweep that runs, and what is written down of it: one status line, a line a member, sweep.csv, sweep.html."""

from __future__ import annotations

import time

from cpt import storage
from cpt.console import StatusLine, duration
from cpt.sweeps import table
from cpt.sweeps.members import Member, MemberState
from cpt.sweeps.page import page
from cpt.sweeps.roles import Watcher
from cpt.sweeps.sweep import Sweep


class Display(Watcher):
    """Shows one sweep on stderr, and keeps its reports."""

    def __init__(self, sweep: Sweep) -> None:
        self._line = StatusLine()
        self._began, self._done_before = time.monotonic(), _done_members(sweep)

    def ended(self, sweep: Sweep, member: Member) -> None:
        """A line for the member."""
        waits = member.state is MemberState.WAITING
        how = "was stopped, and begins again where it was" if waits else table.outcome(member, sweep.metric)
        self._line.line(f"[{_count(sweep, *ENDED)}/{sweep.size}] {member.label}  {how}")

    def looked(self, sweep: Sweep) -> None:
        """The status line."""
        running, queued, failed = (_count(sweep, state) for state in (MemberState.RUNNING, MemberState.QUEUED, MemberState.FAILED))
        counts = [f"{_count(sweep, *DONE)}/{sweep.size} done", f"{running} running"]
        counts += [f"{queued} queued"] if queued else []
        counts += [f"{failed} failed"] if failed else []
        best = table.best(sweep)
        counts += [f"best {best.mean:.3f} {' '.join(f'{key}={value}' for key, value in best.values.items())}"] if best else []
        self._line.update(f"sweep  {' · '.join([*counts, *self._eta(sweep)])}")

    def report(self, sweep: Sweep) -> None:
        """The sweep's table and page, in its folder."""
        storage.write_bytes(storage.join(sweep.location, table.FILE), table.as_csv(sweep).encode())
        storage.write_bytes(storage.join(sweep.location, "sweep.html"), page(sweep).encode())

    def close(self) -> None:
        """Takes the status line away."""
        self._line.clear()

    def _eta(self, sweep: Sweep) -> list[str]:
        """How long the rest will take at the pace so far."""
        done = _done_members(sweep)
        if (pace := done - self._done_before) <= 0:
            return []
        return [f"eta {duration((time.monotonic() - self._began) * (sweep.size - done) / pace)}"]


DONE = (MemberState.COMPLETED, MemberState.PRUNED)
ENDED = (*DONE, MemberState.FAILED)


def _count(sweep: Sweep, *states: MemberState) -> int:
    return sum(member.state in states for member in sweep.members)


def _done_members(sweep: Sweep) -> float:
    """Members that need nothing more, those underway by their share of steps."""
    return sum(1.0 if member.state in ENDED else member.record.steps / (member.total_steps or 1e9) for member in sweep.members)
