"""The same recipe as `hyperpod start-job --override-parameters` takes it (SageMaker HyperPod CLI 2)."""

from __future__ import annotations

import json
import re
from typing import Any

from cpt.recipe.amazon_layout import layout_of, leaves
from cpt_hyperpod.nova_job import NovaJob

SHIPPED_BESIDES = frozenset(
    ["run.mlflow_tracking_uri", "run.mlflow_experiment_name", "run.mlflow_run_name", "training_config.trainer.limit_val_batches"]
)
"""Keys of Amazon's own recipe files, beside those that have a counterpart here."""
NOT_SHIPPED_FOR_NOVA_1 = frozenset(["run.validation_data_s3_path"])


def override_parameters(job: NovaJob) -> str:
    """The JSON for `job`: the values of its recipe, its instance type and its image. That command adds the name's suffix itself.

    It makes Hydra overrides of them: a key that Amazon's recipe file does not hold takes `++`. There is no safe spelling of a list of
    texts, nor one of null; such values, which only carried keys can have, are left out.
    """
    values: dict[str, Any] = {"instance_type": job.instance_type, "container": job.image}
    shipped = _shipped(job)
    for key, value in leaves(job.recipe, frozenset()):
        if _can_be_said(value):
            values[f"{'' if key in shipped else '++'}recipes.{key}"] = within_quotes(value) if isinstance(value, str) else value
    return json.dumps(values, indent=2, ensure_ascii=False) + "\n"


def _shipped(job: NovaJob) -> frozenset[str]:
    layout = layout_of(job.recipe["run"]["model_type"])
    absent = frozenset() if "training_config.task_type" in layout.fixed else NOT_SHIPPED_FOR_NOVA_1
    return frozenset(layout.order) - absent | SHIPPED_BESIDES


def _can_be_said(value: object) -> bool:
    if isinstance(value, list):
        return all(isinstance(item, int | float) for item in value)
    return isinstance(value, str | int | float)


def within_quotes(text: str) -> str:
    """`text` such that Hydra reads it from within the double quotes that the command puts around it, and OmegaConf interpolates nothing."""
    text = re.sub(r'(\\*)("|\Z)', lambda match: match[1] * 2 + ('\\"' if match[2] else ""), text)
    return re.sub(r"(\\*)\$\{", lambda match: match[1] * 2 + r"\${", text)
