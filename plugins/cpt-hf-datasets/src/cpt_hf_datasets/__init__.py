"""Hugging Face `datasets` folders and parquet files as a data source of cpt. Reading takes pyarrow alone, not `datasets`."""

from cpt_hf_datasets.source import HfDatasetsOptions, HfDatasetsSource

__all__ = ["HfDatasetsOptions", "HfDatasetsSource"]
