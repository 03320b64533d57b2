"""Lets tests import the reader of offline runs that stands beside them."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parent))
