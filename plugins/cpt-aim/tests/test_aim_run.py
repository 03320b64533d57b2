"""A run of ours is one run of Aim: what it shows, and what is left of it after a kill."""

from __future__ import annotations

import json
import math
import subprocess
import sys
import time
from pathlib import Path

import pytest
from aim.sdk.repo import Repo
from filelock import FileLock

from cpt import plugins
from cpt.errors import PluginError
from cpt.log import open_loggers
from cpt_aim import AimLogger, AimOptions

RECIPE: dict[str, object] = {
    "optim": {"lr": 1e-5, "betas": [0.9, 0.95]},
    "model": {"init": None, "name": "nova_tiny"},
    "logger": {"aim": {}},
}
FIGURE = {"data": [{"type": "scatter", "x": [0.0, 1.0], "y": [-0.5, 0.25]}], "layout": {"title": {"text": "domain"}}}


def folder_of(output: Path, name: str = "run") -> Path:
    folder = output / name
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def log(folder: Path, after: int, steps: range, **options: object) -> None:
    logger = AimLogger(AimOptions.model_validate_json(json.dumps(options)), folder, folder.name)
    logger.start(RECIPE, after)
    for step in steps:
        logger.metrics(step, {"train/loss": 100.0 * after + step})
        logger.text(step, "sample/now", f"{after}: {step}")
    logger.figure(steps[-1], "figure/domain/change", FIGURE)
    logger.close()


def losses(output: Path) -> list[tuple[str, int, float]]:
    found = Repo(str(output)).query_metrics("metric.name == 'train/loss'", report_mode=0)
    return [(metric.run.name, step, value) for metric in found.iter() for step, (value, *_) in metric.data.items()]


def test_recipe_texts_figures_tags_and_experiment_are_read_back(tmp_path: Path) -> None:
    log(folder_of(tmp_path), 0, range(3), experiment="manuals", tags=["first", "cpu"])
    repo = Repo(str(tmp_path))
    (run,) = [metric.run for metric in repo.query_metrics("run.optim.lr == 1e-5 and run.model.name == 'nova_tiny'", report_mode=0).iter()]
    assert (run.name, run.experiment, sorted(run.tags)) == ("run", "manuals", ["cpu", "first"])
    assert run["optim"] == {"lr": 1e-5, "betas": [0.9, 0.95]}
    assert run.end_time is not None
    (texts,) = repo.query_texts("texts.name == 'sample/now'", report_mode=0).iter()
    assert [(step, text.data) for step, (text, *_) in texts.data.items()] == [(0, "0: 0"), (1, "0: 1"), (2, "0: 2")]
    (figures,) = repo.query_figure_objects("figures.name == 'figure/domain/change'", report_mode=0).iter()
    assert [(step, json.loads(figure.data)) for step, (figure, *_) in figures.data.items()] == [(2, FIGURE)]


def test_points_after_the_resumed_step_are_gone_even_where_none_replaces_them(tmp_path: Path) -> None:
    log(folder_of(tmp_path), 0, range(9))
    log(folder_of(tmp_path), 3, range(4, 6))
    assert losses(tmp_path) == [("run", 0, 0), ("run", 1, 1), ("run", 2, 2), ("run", 3, 3), ("run", 4, 304), ("run", 5, 305)]
    repo = Repo(str(tmp_path))
    (texts,) = repo.query_texts("True", report_mode=0).iter()
    assert [text.data for _, (text, *_) in texts.data.items()] == ["0: 0", "0: 1", "0: 2", "0: 3", "3: 4", "3: 5"]
    (figures,) = repo.query_figure_objects("True", report_mode=0).iter()
    assert figures.data.indices_list() == [5]
    (run,) = repo.iter_runs()
    summary = run.meta_run_tree["traces"]
    (metric,) = [sequences["train/loss"] for sequences in summary.values()]
    assert (metric["last_step"], metric["last"], metric["min"], metric["max"]) == (5, 305, 0, 305)


def test_a_sequence_that_only_began_after_the_resumed_step_is_gone(tmp_path: Path) -> None:
    log(folder_of(tmp_path), 0, range(3, 5))
    logger = AimLogger(AimOptions(), folder_of(tmp_path), "run")
    logger.start(RECIPE, 1)
    logger.close()
    (run,) = Repo(str(tmp_path)).iter_runs()
    assert run.collect_sequence_info(("metric", "texts", "figures")) == {"metric": [], "texts": [], "figures": []}


def test_a_run_that_begins_anew_is_the_same_aim_run_without_a_point_of_before(tmp_path: Path) -> None:
    log(folder_of(tmp_path), 0, range(5))
    (before,) = [run.hash for run in Repo(str(tmp_path)).iter_runs()]
    log(folder_of(tmp_path), 0, range(2))
    assert [run.hash for run in Repo(str(tmp_path)).iter_runs()] == [before]
    assert [step for _, step, _ in losses(tmp_path)] == [0, 1]


def test_measurements_of_the_machine_are_kept_when_a_run_goes_on(tmp_path: Path) -> None:
    def measure(after: int) -> int:
        logger = AimLogger(AimOptions(system_metrics_every_s=0.1), folder_of(tmp_path), "run")
        logger.start(RECIPE, after)
        time.sleep(1)
        logger.close()
        (metric,) = Repo(str(tmp_path)).query_metrics("metric.name == '__system__cpu'", report_mode=0).iter()
        return len(metric.data.indices_list())

    first = measure(0)
    assert measure(1) > first > 1
    assert measure(0) <= 2 * first


KILLED = """
import os, signal, sys
from pathlib import Path
from cpt_aim import AimLogger, AimOptions
logger = AimLogger(AimOptions(), Path(sys.argv[1]), "run")
logger.start({"a": 1}, 0)
for step in range(50):
    logger.metrics(step, {"train/loss": float(step), "train/nan": float("nan")})
logger.flush()
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_was_flushed_survives_kill_9_and_its_locks_stop_nobody(tmp_path: Path) -> None:
    folder = folder_of(tmp_path)
    assert subprocess.run([sys.executable, "-c", KILLED, str(folder)]).returncode == -9
    assert list((tmp_path / ".aim" / "locks").glob("*.softlock"))
    log(folder, 40, range(41, 51))
    assert [(step, value) for _, step, value in losses(tmp_path)] == [
        *((step, step) for step in range(41)),
        *((step, 4000 + step) for step in range(41, 51)),
    ]
    assert len(list(Repo(str(tmp_path)).iter_runs())) == 1


def test_a_reader_sees_a_run_in_progress(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cpt_aim.logger.INDEX_EVERY_S", 0)
    logger = AimLogger(AimOptions(), folder_of(tmp_path), "run")
    logger.start(RECIPE, 0)
    logger.metrics(1, {"train/loss": 2.5, "train/bad": math.inf})
    code = (
        "import sys; from aim.sdk.repo import Repo; print([m.name for m in Repo(sys.argv[1]).query_metrics('True', report_mode=0).iter()])"
    )
    seen = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True)
    logger.close()
    assert "train/loss" in seen.stdout


def test_a_repository_that_others_hold_is_given_up_and_the_run_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cpt_aim.repository.LOCK_S", 0.2)
    warnings: list[str] = []
    with FileLock(tmp_path / ".aim.lock"):
        loggers = open_loggers({"aim": {"repo": str(tmp_path)}}, folder_of(tmp_path), "run", warnings.append)
        begin = time.monotonic()
        loggers.start(RECIPE, 0)
        loggers.metrics(1, {"train/loss": 1.0})
        assert time.monotonic() - begin < 0.1
        loggers.close()
    assert len(warnings) == 1
    assert warnings[0].startswith("logger aim failed and takes no further part (Timeout:")


def test_the_repository_stands_where_the_runs_stand(tmp_path: Path) -> None:
    folder = tmp_path / "sweep" / "optim.lr=0.1"
    folder.mkdir(parents=True)
    logger = AimLogger(AimOptions(), folder, "sweep/optim.lr=0.1")
    logger.start(RECIPE, 0)
    logger.close()
    assert [run.name for run in Repo(str(tmp_path)).iter_runs()] == ["sweep/optim.lr=0.1"]


def test_a_run_at_a_url_must_name_a_repository(tmp_path: Path) -> None:
    with pytest.raises(PluginError, match=r"logger\.aim\.repo: null: must be given for a run at a URL\. Add logger\.aim\.repo=FOLDER"):
        AimLogger(AimOptions(), tmp_path / "0123456789abcdef" / "member", "sweep/member")


@pytest.mark.parametrize("repo", ["aim://host:53800", "", "a\nb"])
def test_a_repository_is_a_folder(repo: str) -> None:
    with pytest.raises(PluginError, match=r"logger\.aim\.repo"):
        plugins.load("loggers", "aim", {"repo": repo}, "logger")
