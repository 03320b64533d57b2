"""One run of cpt as one run of Aim."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field, field_validator

from cpt.contracts import Logger
from cpt.errors import PluginError
from cpt.recipe.frozen import Frozen

if TYPE_CHECKING:
    from cpt_aim.repository import Repository

INDEX_EVERY_S = 30.0
"""How old what a reader of the repository sees of a run in progress may be; seconds."""


class AimOptions(Frozen):
    """The recipe's `logger.aim`."""

    repo: str | None = None
    """Folder that holds the repository's `.aim`; made where there is none. Null: the folder that holds the run, `run.output`."""
    experiment: str | None = Field(default=None, min_length=1)
    """Aim's experiment; null: `default`."""
    tags: tuple[str, ...] = ()
    """Aim's tags of the run; they are made where there are none."""
    system_metrics_every_s: float | None = Field(default=None, ge=0.1, le=86_400)
    """Seconds between measurements of this machine; null: none."""

    @field_validator("repo")
    @classmethod
    def _is_a_folder(cls, repo: str | None) -> str | None:
        if repo is not None and ("://" in repo or not repo.strip() or not repo.isprintable()):
            raise ValueError("must be a folder: runs write to an Aim repository on a file system that they share")
        return repo


class AimLogger(Logger):
    """Metrics under the names of metrics.jsonl with an empty context, texts, figures, and the recipe as the run's parameters."""

    Options = AimOptions
    options: AimOptions

    def __init__(self, options: AimOptions, folder: Path, run_name: str) -> None:
        super().__init__(options, folder, run_name)
        self._repo_folder = _repo_folder(options.repo, folder, run_name)
        self._repository: Repository | None = None
        self._run: Any = None
        self._indexed_s = 0.0

    def start(self, recipe: Mapping[str, object], step: int) -> None:
        """Opens the run's Aim run, without the points after `step`, or makes it."""
        from cpt_aim.repository import Repository  # noqa: PLC0415  (imports Aim: slow, and only needed by runs that log)

        self._repository = Repository(self._repo_folder)
        self._run = self._repository.open_run(self.kept_id("aim", 24), step, self.options.system_metrics_every_s)
        self._run.name = self.run_name
        if self.options.experiment:
            self._run.experiment = self.options.experiment
        for tag in set(self.options.tags) - set(self._run.tags):
            self._run.add_tag(tag)
        self._run[...] = dict(recipe)
        self._index()

    def metrics(self, step: int, values: Mapping[str, float]) -> None:
        """One point a value."""
        self._run.track({name: float(value) for name, value in values.items()}, step=step)
        if time.monotonic() - self._indexed_s > INDEX_EVERY_S:
            self._index()

    def text(self, step: int, name: str, text: str) -> None:
        """An `aim.Text`."""
        from cpt_aim.repository import text_object  # noqa: PLC0415  (as above)

        self._run.track(text_object(text), name=name, step=step)

    def figure(self, step: int, name: str, figure: Mapping[str, object]) -> None:
        """An `aim.Figure`."""
        from cpt_aim.repository import figure_object  # noqa: PLC0415  (as above)

        self._run.track(figure_object(figure), name=name, step=step)

    def close(self) -> None:
        """Marks the Aim run as ended, and lets readers see all of it."""
        if self._run is not None:
            self._run.close()
            self._run = None
            self._index()

    def _index(self) -> None:
        assert self._repository is not None
        self._repository.index(self.kept_id("aim", 24))
        self._indexed_s = time.monotonic()


def _repo_folder(repo: str | None, folder: Path, run_name: str) -> Path:
    """Where the repository is.

    Raises:
        PluginError: None is named, and the run's folder does not stand in the folder of runs: it is the spool of a run at a URL.
    """
    if repo is not None:
        return Path(repo).expanduser().absolute()
    parts = Path(run_name).parts
    if folder.absolute().parts[-len(parts) :] != parts:
        rule, cure = "must be given for a run at a URL", "add logger.aim.repo=FOLDER"
        raise PluginError("logger.aim.repo", "null", rule, cure)
    return folder.absolute().parents[len(parts) - 1]
