"""The plan before a run: every allowed Nova layout plans, and its figures follow from the recipe."""

from __future__ import annotations

import math

import pytest

from cpt.composition import compose
from cpt.errors import ResourceError
from cpt.planning.layout import USABLE_SHARE, choose_layout
from cpt.planning.plan import Plan, Size, make_plan, total_steps
from cpt.recipe.schema import Recipe
from cpt.resources import refuse_too_large, world_size

NODES = {"nova_micro": (2, 4, 8), "nova_lite": (4, 8, 16, 32), "nova_pro": (6, 12, 24)}
PAIRS = [(model, nodes, batch) for model, choices in NODES.items() for nodes in choices for batch in (32, 64, 128, 256)]
SAMPLES = Size(sequences=100_000, tokens=100_000 * 8192, exact=True)


def plan_of(*overrides: str, size: Size = SAMPLES) -> tuple[Recipe, Plan]:
    recipe = compose(overrides).recipe
    assert recipe.model.architecture is not None
    return recipe, make_plan(recipe, recipe.model.architecture, size, world_size(recipe))


@pytest.mark.parametrize(("model", "nodes", "batch"), PAIRS)
def test_every_allowed_pair_of_nodes_and_batch_plans(model: str, nodes: int, batch: int) -> None:
    recipe, plan = plan_of(f"model={model}", f"cluster=p5x{nodes}", f"train.global_batch_size={batch}")
    layout = plan.layout
    ranks = nodes * 8
    assert layout.dp_replicate * layout.dp_shard == layout.world_size == ranks
    assert layout.memory_gb <= 80 * USABLE_SHARE
    slots = ranks * layout.grad_accumulation * layout.micro_batch
    assert slots >= batch
    assert layout.idle_share == pytest.approx(1 - batch / slots)
    assert plan.steps == 2 * math.ceil(100_000 / batch)
    refuse_too_large(recipe, plan)


@pytest.mark.parametrize(
    ("sizes", "shown"),
    [
        (["dp_shard=7"], "dp_shard 7"),
        (["dp_replicate=2", "dp_shard=8"], "dp_replicate 2 x dp_shard 8"),
        (["dp_replicate=500"], "dp_replicate 500"),
    ],
)
def test_a_mesh_that_is_not_the_ranks_is_refused(sizes: list[str], shown: str) -> None:
    """Where only the machine tells how many ranks there are, the recipe's own rule cannot."""
    recipe = compose([f"parallel.{size}" for size in sizes]).recipe
    assert recipe.model.architecture is not None
    with pytest.raises(ResourceError, match=f"^parallel: {shown}: does not make the 48 ranks of cluster=local"):
        choose_layout(recipe.model.architecture, recipe, 48)


def test_nova_pro_on_24_nodes_leaves_a_third_of_the_slots_idle() -> None:
    _, plan = plan_of("model=nova_pro", "cluster=p5x24")
    assert (plan.layout.micro_batch, plan.layout.grad_accumulation) == (1, 2)
    assert plan.layout.idle_share == pytest.approx(1 / 3)


def test_the_hours_of_amazons_table_are_in_reach() -> None:
    """Amazon's engine takes 4, 4 and 10 hours for one pass; ours must not plan more for stand-ins of that size class."""
    for model, nodes, hours in (("nova_micro", 8, 4), ("nova_lite", 16, 4), ("nova_pro", 24, 10)):
        _, plan = plan_of(f"model={model}", f"cluster=p5x{nodes}", "train.max_epochs=1")
        assert 0.1 < plan.seconds / 3600 < hours


def test_a_model_too_large_for_its_gpus_is_refused() -> None:
    recipe, plan = plan_of("model=nova_pro", "cluster=p5x6", "parallel.dp_shard=4")
    with pytest.raises(ResourceError, match="GB a GPU"):
        refuse_too_large(recipe, plan)


@pytest.mark.parametrize(("epochs", "steps", "expected"), [(2, None, 20), (None, 7, 7), (2, 7, 7), (2, 700, 20)])
def test_whichever_limit_comes_first_ends_the_run(epochs: int | None, steps: int | None, expected: int) -> None:
    word = [f"train.max_epochs={epochs or 'null'}", f"train.max_steps={steps or 'null'}"]
    assert total_steps(compose(word).recipe, steps_per_epoch=10) == expected


@pytest.mark.parametrize("processes", [1, 2, 3, 5])
def test_passes_of_a_rank_are_evenly_filled(processes: int) -> None:
    recipe = compose([f"cluster.processes={processes}", "train.max_length=1024"]).recipe
    assert recipe.model.architecture is not None
    layout = choose_layout(recipe.model.architecture, recipe, processes)
    share = math.ceil(recipe.train.global_batch_size / processes)
    assert layout.grad_accumulation * layout.micro_batch - share < layout.grad_accumulation
    assert layout.micro_batch <= 8


def test_the_plan_says_what_attention_dropout_costs() -> None:
    size = Size(sequences=100, tokens=25_600, exact=True)
    recipe, plan = plan_of("model.attention_dropout=0.1", size=size)
    assert "attention dropout: torch's unfused kernel" in "\n".join(plan.lines(recipe))
    recipe, plan = plan_of(size=size)
    assert "attention dropout" not in "\n".join(plan.lines(recipe))
