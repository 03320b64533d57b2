"""What cpt asks of any data source."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from cpt.testing import DataSourceContract
from cpt_hf_datasets import HfDatasetsSource


class TestParquet(DataSourceContract):
    plugin = HfDatasetsSource

    def write(self, folder: Path, texts: Sequence[str]) -> Sequence[str]:
        folder.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.table({"text": list(texts)}), folder / "table.parquet")
        return [str(folder / "table.parquet")]


class TestDatasetsFolder(DataSourceContract):
    plugin = HfDatasetsSource

    def write(self, folder: Path, texts: Sequence[str]) -> Sequence[str]:
        from datasets import Dataset  # noqa: PLC0415  seconds to import

        Dataset.from_dict({"text": list(texts)}).save_to_disk(str(folder / "saved"))
        return [str(folder / "saved")]
