"""What goes wrong while a run writes, and what it leaves then."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from command import write_domain
from runs import QUICK


def test_a_disk_without_room_for_the_checkpoint_is_one_line(tmp_path: Path) -> None:
    """Files may have 10 MB: the final model fits, the optimizer's state does not."""
    write_domain(tmp_path)
    limited = ("sh", "-c", 'ulimit -f 20000; exec "$@"', "sh", sys.executable, "-m", "cpt")
    words = ("train", *QUICK, "train.max_steps=2", "train.validate_every=null", "eval.max_tokens=0", "run.output=o", "run.name=r")
    done = subprocess.run([*limited, *words], cwd=tmp_path, capture_output=True, text=True, timeout=240)
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    assert "o/r: file too large" in done.stderr
    assert json.loads((tmp_path / "o/r/manifest.json").read_text())["status"] == "failed"
    assert [path.name for path in (tmp_path / "o/r/checkpoints").iterdir()] == []
