"""All loggers of a run as one; a logger that fails is dropped with a warning, and training goes on."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from cpt import plugins
from cpt.contracts import Logger


def _warn(text: str) -> None:
    print(f"warning: {text}", file=sys.stderr, flush=True)


class Loggers:
    """Passes rows and texts on to each logger.

    Args:
        warn: Told once of every logger that is dropped, and why.
    """

    def __init__(self, warn: Callable[[str], None] = _warn) -> None:
        self._loggers: dict[str, Logger] = {}
        self._warn = warn

    @property
    def names(self) -> tuple[str, ...]:
        """The loggers that still take part."""
        return tuple(self._loggers)

    def add(self, name: str, make: Callable[[], Logger]) -> None:
        """Adds the logger that `make` returns; one that cannot be made is dropped."""
        if (logger := self._attempt(name, make)) is not None:
            self._loggers[name] = logger

    def start(self, recipe: Mapping[str, object], step: int) -> None:
        """See `cpt.contracts.Logger.start`."""
        self._each(lambda logger: logger.start(recipe, step))

    def metrics(self, step: int, values: Mapping[str, float]) -> None:
        """See `cpt.contracts.Logger.metrics`."""
        self._each(lambda logger: logger.metrics(step, values))

    def text(self, step: int, name: str, text: str) -> None:
        """See `cpt.contracts.Logger.text`."""
        self._each(lambda logger: logger.text(step, name, text))

    def close(self) -> None:
        """See `cpt.contracts.Logger.close`."""
        self._each(lambda logger: logger.close())

    def _each(self, act: Callable[[Logger], None]) -> None:
        for name, logger in list(self._loggers.items()):
            self._attempt(name, lambda logger=logger: act(logger))  # type: ignore[misc]

    def _attempt(self, name: str, act: Callable[[], Any]) -> Any:
        try:
            return act()
        except Exception as error:  # a stranger's code, whatever it raises, must not end a run of days
            self._loggers.pop(name, None)
            self._warn(f"logger {name} failed and takes no further part ({type(error).__name__}: {error})")
            return None


def open_loggers(settings: Mapping[str, Mapping[str, Any]], folder: Path, run_name: str, warn: Callable[[str], None] = _warn) -> Loggers:
    """The loggers that a recipe names.

    Args:
        settings: The recipe's `logger`: each one's options by its name.
        folder: The run's local folder.
        run_name: The run's name.
        warn: Told of every logger that is dropped.

    Raises:
        PluginError: A logger is not installed, is broken, or refuses its options.
    """
    loaded = {name: plugins.load("loggers", name, options, f"logger.{name}") for name, options in settings.items()}
    loggers = Loggers(warn)
    for name, (logger_class, options) in loaded.items():
        loggers.add(name, lambda make=logger_class, options=options: make(options, folder, run_name))  # type: ignore[misc]
    return loggers
