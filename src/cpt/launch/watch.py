"""Asking a launcher about jobs for days: one that does not answer for a while ends nothing."""

from __future__ import annotations

import time
from collections.abc import Sequence

from cpt.console import say
from cpt.contracts import JobRef, JobState, JobStatus, Launcher
from cpt.errors import UserError

PATIENCE_S = 900.0
"""Seconds of silence after which its last error is the user's."""


class Watched:
    """A launcher whose silences are borne: what was last known stands meanwhile.

    Args:
        launcher: The launcher.
        patience_s: For so long.
    """

    def __init__(self, launcher: Launcher, patience_s: float = PATIENCE_S) -> None:
        self._launcher, self._patience_s = launcher, patience_s
        self._known: dict[str, JobStatus] = {}
        self._silent_since: float | None = None

    def status(self, job: JobRef) -> JobStatus:
        """Where the job stands, or was last known to stand.

        Raises:
            UserError: The launcher has been silent for too long; in its words.
        """
        return self.statuses([job])[0]

    def statuses(self, jobs: Sequence[JobRef]) -> list[JobStatus]:
        """The same for several jobs, asked for at once."""
        try:
            answers = self._launcher.statuses(jobs)
        except UserError as error:
            self._bear(error)
            return [self._known.get(job.id, JobStatus(JobState.QUEUED, "its launcher does not answer")) for job in jobs]
        self._silent_since = None
        self._known |= {job.id: answer for job, answer in zip(jobs, answers, strict=True)}
        return answers

    def _bear(self, error: UserError) -> None:
        now = time.monotonic()
        if self._silent_since is None:
            self._silent_since = now
            say(f"warning: {error}; asking again for {self._patience_s / 60:.0f} minutes")
        if now - self._silent_since >= self._patience_s:
            raise error
