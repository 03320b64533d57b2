"""The seams: what a data source, a launcher, a logger and a sweeper must offer. Small, torch-free, stable.

A plugin is a class with a name in one of the entry-point groups of `cpt.plugins`. Its `Options` are a frozen model of its own:
a recipe's settings are validated against it on the submitting machine, before anything is done with them.

The contracts' version is the minor version of cpt-train: a plugin for these depends on `cpt-train>=0.1,<0.2`, and `cpt plugins`
says of an installed one whether that still holds. What a contract gains within a version has a default.
"""

from cpt.contracts.data_source import DataSource
from cpt.contracts.launcher import JobRef, JobState, JobStatus, Launcher, LauncherOptions, Task
from cpt.contracts.logger import Logger
from cpt.contracts.options import NoOptions
from cpt.contracts.sweeper import Choices, Interval, Sweeper, Trial, TrialState

__all__ = [
    "Choices",
    "DataSource",
    "Interval",
    "JobRef",
    "JobState",
    "JobStatus",
    "Launcher",
    "LauncherOptions",
    "Logger",
    "NoOptions",
    "Sweeper",
    "Task",
    "Trial",
    "TrialState",
]
