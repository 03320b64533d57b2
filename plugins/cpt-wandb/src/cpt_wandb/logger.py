"""One run of cpt as one run of Weights & Biases."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from cpt.contracts import Logger
from cpt.errors import PluginError
from cpt.recipe.frozen import Frozen
from cpt_wandb.journal import Entry, Journal

SETTINGS: dict[str, Any] = {
    "silent": True,
    "console": "off",
    "finish_timeout": 45.0,
    "disable_git": True,
    "disable_code": True,
    "x_disable_meta": True,
    "x_disable_stats": True,
    "x_save_requirements": False,
}
"""The run's numbers and recipe go to W&B, nothing else of this machine; seconds."""


class WandbOptions(Frozen):
    """The recipe's `logger.wandb`."""

    project: str = Field(default="cpt", min_length=1, max_length=128)
    """W&B's project."""
    entity: str | None = Field(default=None, min_length=1)
    """User or team; null: W&B's default."""
    mode: Literal["online", "offline", "disabled"] | None = None
    """Null: the environment's WANDB_MODE, else `online`."""
    tags: tuple[str, ...] = ()
    """W&B's tags of the run."""


class WandbLogger(Logger):
    """Metrics under the names of metrics.jsonl, texts as HTML, figures as Plotly's, the recipe as the run's config.

    W&B drops rows of a step it has passed. So rows that it has are not sent again, and an offline run is written anew from the journal;
    the one before stays until that is whole.
    """

    Options = WandbOptions
    options: WandbOptions

    def __init__(self, options: WandbOptions, folder: Path, run_name: str) -> None:
        super().__init__(options, folder, run_name)
        self._folder = folder / "loggers"
        self._journal = Journal(self._folder / "wandb.jsonl")
        self._run: Any = None
        self._superseded: list[Path] = []

    def start(self, recipe: Mapping[str, object], step: int) -> None:
        """Opens the W&B run, or makes it, and sends what it lacks up to `step`."""
        self._folder.mkdir(parents=True, exist_ok=True)
        self._journal.truncate_after(step)
        self._run = self._open(recipe, self.kept_id("wandb", 16))
        for entry in self._journal.entries():
            self._send(entry)

    def metrics(self, step: int, values: Mapping[str, float]) -> None:
        """One row."""
        self._log(Entry(step, "metrics", "", {name: float(value) for name, value in values.items()}))

    def text(self, step: int, name: str, text: str) -> None:
        """A `wandb.Html`."""
        self._log(Entry(step, "text", name, text))

    def figure(self, step: int, name: str, figure: Mapping[str, object]) -> None:
        """A `wandb.Plotly`."""
        self._log(Entry(step, "figure", name, figure))

    def close(self) -> None:
        """Ends the W&B run; online, waits for what is under way."""
        if self._run is not None:
            import wandb  # noqa: PLC0415  (as above)

            written = Path(self._run.settings.sync_dir)
            self._run.finish()
            self._run = None
            wandb.teardown()  # an offline run is on disk only when its writer has ended
            for earlier in self._superseded:
                if earlier.name != written.name:
                    shutil.rmtree(earlier)

    def _open(self, recipe: Mapping[str, object], run_id: str) -> Any:
        import wandb  # noqa: PLC0415  (slow, and only needed by runs that log)

        os.environ.pop("WANDB_SERVICE", None)  # a writer that outlives this process keeps its runs from being gone on with
        mode: Any = self.options.mode or os.environ.get("WANDB_MODE", "online")
        if mode == "offline":
            self._superseded = sorted((self.folder / "wandb").glob(f"offline-run-*-{run_id}"))
        elif mode == "online" and not wandb.login(prompt=False):
            raise PluginError(
                "logger.wandb", "online", "W&B has no credentials here", "set WANDB_API_KEY, or add logger.wandb.mode=offline"
            )
        sweep = Path(self.run_name).parent.as_posix()
        return wandb.init(
            project=self.options.project,
            entity=self.options.entity,
            id=run_id,
            name=self.run_name,
            group=None if sweep == "." else sweep,
            tags=list(self.options.tags),
            config=dict(recipe),
            dir=str(self.folder),  # not in loggers/, of which a run at a URL keeps every file that was ever there
            mode=mode,
            resume="allow" if mode == "online" else None,
            settings=wandb.Settings(**SETTINGS),
        )

    def _log(self, entry: Entry) -> None:
        self._journal.append(entry)
        self._send(entry)

    def _send(self, entry: Entry) -> None:
        if entry.step >= self._run.starting_step:
            self._run.log(_payload(entry), step=entry.step)


def _payload(entry: Entry) -> dict[str, Any]:
    from cpt_wandb.media import figure_media, text_media  # noqa: PLC0415  (imports wandb)

    if entry.kind == "metrics":
        return {name: value for name, value in entry.value.items() if value is not None}  # JSON has no NaN
    return {entry.name: text_media(entry.value) if entry.kind == "text" else figure_media(entry.value)}
