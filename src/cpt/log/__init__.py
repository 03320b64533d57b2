"""Where a run's numbers go besides metrics.jsonl: every logger that the recipe names, none of which can stop the run."""

from cpt.log.loggers import Loggers, open_loggers

__all__ = ["Loggers", "open_loggers"]
