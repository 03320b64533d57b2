"""The entry of every process that needs torch: `python -m cpt.worker JOB.json`. A job in, a result or a run directory out."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cpt.errors import EXIT_DONE, EXIT_OURS, CptError, UserError
from cpt.job import CRASHES, Job, write_result
from cpt.launch.child import end_on_signals


def main(path: str) -> int:
    """Runs the job at `path` and returns its exit code; each rank leaves its answer beside the job."""
    end_on_signals()  # while torch is imported there is nothing to save
    return _run(Job.read(Path(path)), Path(path).parent, int(os.environ.get("RANK", "0")))


def _run(job: Job, folder: Path, rank: int) -> int:
    answer: dict[str, Any] = {}
    try:
        run = _verb(job.verb)
        _hush()  # after the imports: Lightning sets the level of its loggers when it is imported
        answer["result"] = run(job)
        code = EXIT_DONE
    except CptError as error:
        faults = error.faults if isinstance(error, UserError) else ()
        answer, code = {"faults": faults, "message": str(error)}, error.exit_code
    except Exception as error:  # whatever it is, the user gets a line and a file, not a traceback
        report = folder / CRASHES.replace("*", str(rank))
        report.write_text(traceback.format_exc())
        answer, code = {"message": f"{type(error).__name__}: {error} (traceback in {report})"}, EXIT_OURS
    with contextlib.suppress(OSError):  # on a full disk the exit code must do
        write_result(folder, rank, **answer)
    return code


def _verb(name: str) -> Callable[[Job], Any]:
    """The verb's function; only training pays for the import of Lightning."""
    if name == "train":
        from cpt.training.run import train

        return train
    if name == "measure":
        from cpt.training.speed import measure

        return measure
    from cpt.evaluation import verbs

    return {"evaluate": verbs.evaluate, "generate": verbs.generate, "export": verbs.export}[name]


def _hush() -> None:
    """Silences the advice that Lightning and torch print for people who call them directly."""
    for name in ("lightning.pytorch", "lightning.fabric", "lightning.pytorch.utilities.rank_zero", "lightning.fabric.utilities.rank_zero"):
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module=r"(lightning|torch)\.")


if __name__ == "__main__":
    code = main(sys.argv[1])
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # torch's threads and process groups need not be waited for: everything is committed
