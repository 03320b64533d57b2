"""The override parameters say the recipe to Amazon's own command line, whatever its values hold."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import OmegaConf

from cpt.contracts import Task
from cpt.recipe.amazon_layout import put
from cpt_hyperpod import HyperpodLauncher
from cpt_hyperpod.overrides import within_quotes

PARSER = OverridesParser.create()


def as_amazons_command_reads(values: dict[str, Any]) -> dict[str, Any]:
    """What `hyperpod start-job` makes of the JSON: `key="text"` or `key=value`, each an override of Hydra's."""
    tree: dict[str, Any] = {}
    for key, value in values.items():
        override = PARSER.parse_override(f'{key}="{value}"' if isinstance(value, str) else f"{key}={value}")
        put(tree, override.key_or_group, override.value())
    return dict(OmegaConf.to_container(OmegaConf.create(tree), resolve=True))  # type: ignore[arg-type]


@pytest.mark.parametrize("preset", ["nova_micro", "nova_2_lite"])
def test_amazons_command_line_reads_the_same_recipe(
    preset: str, nova_task: Callable[..., Task], launcher: Callable[..., HyperpodLauncher]
) -> None:
    files = launcher().render(nova_task(f"model={preset}", "cluster=p5x8", "data.validation=s3://data/a b.jsonl"))
    read = as_amazons_command_reads(json.loads(files["override-parameters.json"]))
    assert read["recipes"] == yaml.safe_load(files["recipe.yaml"])
    assert read["instance_type"] == "ml.p5.48xlarge"
    assert read["container"].endswith("-latest")


@given(st.text(alphabet=st.sampled_from("ab\"\\${}'\n ")))
def test_any_text_is_read_back_and_interpolates_nothing(text: str) -> None:
    assert as_amazons_command_reads({"key": within_quotes(text)}) == {"key": text}


def test_a_key_that_amazons_file_does_not_hold_is_added(nova_task: Callable[..., Task], launcher: Callable[..., HyperpodLauncher]) -> None:
    def keys(*overrides: str) -> set[str]:
        return set(json.loads(launcher().render(nova_task(*overrides))["override-parameters.json"]))

    validation = "data.validation=s3://data/v.jsonl"
    assert "++recipes.run.validation_data_s3_path" in keys(validation)
    assert "recipes.run.validation_data_s3_path" in keys("model=nova_2_lite", "cluster=p5x8", validation)
    assert "++recipes.training_config.enable_batch_sample_tracing" in keys("+amazon.training_config.enable_batch_sample_tracing=true")
    assert "recipes.run.mlflow_run_name" in keys("+amazon.run.mlflow_run_name=x")


def test_what_that_command_cannot_be_told_is_left_out(nova_task: Callable[..., Task], launcher: Callable[..., HyperpodLauncher]) -> None:
    files = launcher().render(nova_task("+amazon.versions=[a,b]"))
    assert "versions" in yaml.safe_load(files["recipe.yaml"])
    assert "versions" not in files["override-parameters.json"]
