"""What a sweep leaves: the table, the CSV and the page tell the same story, and show what recipes hold as text."""

from __future__ import annotations

import csv
import json
import math
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import pytest

from cpt.errors import UserError
from cpt.sweeps import table
from cpt.sweeps.members import MemberState
from cpt.sweeps.page import page
from cpt.sweeps.sweep import Sweep

AXES = ("optim.lr=1e-4,1e-3,1e-2", "run.seed=1,2")
HOSTILE = "</script><script>document.title='owned'</script><img src=x onerror=alert(1)>"


def fill(sweep: Sweep, losses: dict[str, float | None], steps: int = 4) -> Sweep:
    """Writes what runs would have left: curves from 6 to each member's loss."""
    for member in sweep.members:
        folder, end = member.run.local, losses.get(member.label, 3.0)
        folder.mkdir(parents=True, exist_ok=True)
        rows = [
            {
                "step": step,
                **({"train/loss": 5.0, "train/tokens": step * 100, "train/tokens_per_second": 50.0} if step else {}),
                "validation/domain/loss": None if end is None and step else 6 + ((end or 6) - 6) * step / steps,
                "validation/general/loss": 4.0,
            }
            for step in range(steps + 1)
        ]
        (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        (folder / "manifest.json").write_text(json.dumps({"status": "completed", "steps": steps}))
        (folder / "recipe.json").write_text(json.dumps(member.composed.recipe.kept() if member.composed else {}))
    sweep.read()
    return sweep


@pytest.fixture
def swept(opened) -> Sweep:
    losses: dict[str, float | None] = {"optim.lr=0.001,run.seed=1": 2.0, "optim.lr=0.001,run.seed=2": 2.2, "optim.lr=0.01,run.seed=1": None}
    return fill(opened(*AXES), losses)


def test_the_best_stands_first_and_seeds_are_one_row_with_their_spread(swept: Sweep) -> None:
    rows = table.rows(swept)
    assert [row.values["optim.lr"] for row in rows] == ["0.001", "0.0001", "0.01"]
    assert rows[0].mean == pytest.approx(2.1)
    assert rows[0].spread == pytest.approx(0.2 / math.sqrt(2))
    assert rows[0].change == pytest.approx(-3.9)
    assert len(rows[0].members) == 2
    lines = table.summary(swept)
    assert lines[0].split() == ["optim.lr", "validation/domain/loss", "change", "steps", "seeds", "state"]
    assert lines[1].split() == ["0.001", "2.1000", "±", "0.141", "-3.9000", "4", "2", "completed"]


def test_a_member_whose_loss_is_not_finite_comes_last_and_counts_for_no_mean(swept: Sweep) -> None:
    assert table.rows(swept)[-1].mean == pytest.approx(3.0)
    assert table.value(swept.members[4], swept.metric) is None


def test_failed_members_say_why_in_every_place(swept: Sweep) -> None:
    swept.members[0].state = MemberState.FAILED
    swept.members[0].error = ("data.train: gone.jsonl: is not there.",)
    assert "1 completed" in "\n".join(table.summary(swept)) or "1 failed" in "\n".join(table.summary(swept))
    assert "data.train: gone.jsonl: is not there." in table.as_csv(swept)
    assert "data.train: gone.jsonl: is not there." in page(swept)
    assert table.outcome(swept.members[0], swept.metric) == "failed: data.train: gone.jsonl: is not there."


def test_the_csv_has_a_row_a_member_with_each_loss_before_and_after(swept: Sweep) -> None:
    rows = list(csv.DictReader(table.as_csv(swept).splitlines()))
    assert [row["member"] for row in rows][:2] == ["optim.lr=0.001,run.seed=1", "optim.lr=0.001,run.seed=2"]
    first = rows[0]
    assert (first["optim.lr"], first["run.seed"], first["state"], first["steps"]) == ("0.001", "1", "completed", "4")
    assert float(first["validation/domain/loss before"]) == 6.0
    assert float(first["validation/domain/loss after"]) == 2.0
    assert float(first["validation/domain/loss change"]) == -4.0
    assert float(first["validation/general/loss change"]) == 0.0
    assert float(first["seconds"]) == 8.0
    assert Path(first["location"], "metrics.jsonl").exists()


def test_another_metric_orders_otherwise(opened) -> None:
    sweep = fill(opened("optim.lr=1e-4,1e-3", "sweeper.metric=validation/general/loss"), {"optim.lr=0.001": 1.0})
    assert sweep.metric == "validation/general/loss"
    assert [row.mean for row in table.rows(sweep)] == [4.0, 4.0]


def test_a_summary_of_many_is_cut_and_says_so(opened) -> None:
    assert table.summary(fill(opened("train.max_steps=range(1,31)"), {}))[-1] == "... and 10 more in sweep.csv"


def test_the_page_asks_nothing_of_the_network(swept: Sweep) -> None:
    text = page(swept)
    assert "default-src 'none'" in text
    assert not re.findall(r"(?:src|href)\s*=|@import|url\((?!#)|fetch\(|XMLHttpRequest", text)
    assert set(re.findall(r"https?://[^\s\"']+", text)) == {"http://www.w3.org/2000/svg"}


class _Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.found.append(tag)


def tags(text: str) -> list[str]:
    parser = _Tags()
    parser.feed(text)
    return parser.found


def test_what_a_recipe_holds_is_text_in_the_page_and_never_markup(opened) -> None:
    tame = page(fill(opened("eval.prompt='a','b'", "optim.lr=1e-4,1e-3"), {}))
    wild = page(fill(opened(f'eval.prompt="{HOSTILE}","b"', "optim.lr=1e-4,1e-3"), {}))
    assert tags(tame) == tags(wild)
    data = re.search(r'id="data">(.*?)</script>', wild, re.DOTALL)
    assert data is not None
    assert any(HOSTILE in member["values"]["eval.prompt"] for member in json.loads(data[1])["members"])


def test_a_thousand_members_are_a_page_of_a_few_megabytes(opened) -> None:
    sweep = opened("optim.lr=1e-4,1e-3", "run.seed=1,2")
    fill(sweep, {}, steps=500)
    sweep.members *= 250
    assert len(page(sweep)) < 6_000_000


@pytest.mark.skipif(shutil.which("chromium") is None, reason="needs chromium")
def test_a_browser_draws_a_line_a_member_and_runs_nothing_of_a_recipe(opened, tmp_path: Path) -> None:
    sweep = fill(opened(f'eval.prompt="{HOSTILE}","b"', "optim.lr=1e-4,1e-3,1e-2", "run.seed=1,2"), {"x": None})
    file = tmp_path / "sweep.html"
    file.write_text(page(sweep))
    argv = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=2000", f"--user-data-dir={tmp_path}/c"]
    drawn = subprocess.run([*argv, "--dump-dom", file.as_uri()], capture_output=True, text=True, timeout=120).stdout
    assert drawn.count('class="run') == 2 * len(sweep.members)
    assert drawn.count("<tr") == 2 + len(sweep.members) + len(table.rows(sweep))
    assert "<title>s · cpt sweep</title>" in drawn
    assert "<img" not in drawn


def test_a_member_that_cannot_be_composed_is_told_of_like_any_other(swept: Sweep) -> None:
    swept.members[0].fail(UserError("optim.lr", "3", "must lie in [0, 1]"))
    assert swept.members[0].exit_code == 2
    assert "optim.lr: 3: must lie in [0, 1]." in table.as_csv(swept)
