from collections.abc import Sequence
from pathlib import Path

from cpt_data_echo import EchoSource

from cpt.testing import DataSourceContract


class TestEcho(DataSourceContract):
    plugin = EchoSource
    options = {"times": 2}  # noqa: RUF012
    missing = None  # every text is one

    def write(self, folder: Path, texts: Sequence[str]) -> Sequence[str]:
        return texts

    def expected(self, texts: Sequence[str]) -> Sequence[str]:
        return [text * 2 for text in texts]
