"""A user's folder and installed packages add groups and options; two of a name are an error, and a package's code is never run for it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from cpt.composition import compose, groups
from cpt.errors import RecipeError


def write(file: Path, text: str) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    return file


def refusal(*overrides: str, config_dir: Path | None = None) -> str:
    with pytest.raises(RecipeError) as error:
        compose(overrides, config_dir=config_dir)
    return str(error.value)


def test_a_folder_adds_options_that_compose_like_our_own(tmp_path: Path) -> None:
    folder = tmp_path / "my 'odd' folder"
    write(folder / "optim/hot.yaml", "defaults: [adamw, _self_]\nlr: 3e-4\n")
    write(folder / "model/wide.yaml", "defaults: [smollm2_135m, _self_]\nname: wide\ninit: random\n")
    recipe = compose(["optim=hot", "model=wide"], config_dir=folder).recipe
    assert (recipe.optim.name, recipe.optim.lr, recipe.model.name) == ("adamw", 3e-4, "wide")
    assert "hot" in groups(folder)["optim"]
    assert "hot" not in groups()["optim"]


def test_a_folders_experiment_chooses_groups_and_values(tmp_path: Path) -> None:
    write(
        tmp_path / "experiment/mine.yaml",
        "# @package _global_\ndefaults:\n  - override /model: nova_lite\n  - override /cluster: p5x4\n  - override /data: jsonl\n"
        "data: {train: x.jsonl}\noptim: {lr: 2e-5}\n",
    )
    recipe = compose(["experiment=mine"], config_dir=tmp_path).recipe
    assert (recipe.model.name, recipe.cluster.name, recipe.data.train, recipe.optim.lr) == ("nova_lite", "p5x4", "x.jsonl", 2e-5)
    assert recipe.train.max_length == 8192
    assert compose(["experiment=mine", "model=nova_micro"], config_dir=tmp_path).recipe.model.name == "nova_micro"


def test_an_option_in_two_places_is_an_error_that_names_both(tmp_path: Path) -> None:
    file = write(tmp_path / "optim/adamw.yaml", "name: adamw\nlr: 1\n")
    text = refusal(config_dir=tmp_path)
    assert "optim/adamw: is offered twice" in text
    assert str(file) in text
    assert "cpt-train (" in text


def test_the_primary_recipe_cannot_be_replaced(tmp_path: Path) -> None:
    write(tmp_path / "train.yaml", "run: {name: x}\n")
    assert "train: is offered twice" in refusal(config_dir=tmp_path)


def test_every_fault_of_every_file_comes_at_once(tmp_path: Path) -> None:
    write(tmp_path / "optim/a.yaml", "lr: &x 1\n")
    write(tmp_path / "optim/b.yaml", "lr: !!python/name:os.system\n")
    write(tmp_path / "optim/c.yaml", "_target_: os.system\n")
    write(tmp_path / "optim/d.yaml", "lr: ${oc.env:HOME}\n")
    assert len(refusal(config_dir=tmp_path).splitlines()) == 4


def test_a_folder_that_is_none_and_a_mistake_in_a_defaults_list_are_faults(tmp_path: Path) -> None:
    assert "is not a folder" in refusal(config_dir=tmp_path / "none")
    write(tmp_path / "optim/bad.yaml", "defaults: [nothing, _self_]\nlr: 1\n")
    assert "optim/nothing" in refusal("optim=bad", config_dir=tmp_path)


def test_a_value_still_to_be_given_is_asked_for(tmp_path: Path) -> None:
    write(tmp_path / "data/mine.yaml", "defaults: [jsonl, _self_]\ntrain: x.jsonl\noptions:\n  table: ???\n")
    assert "data.options.table: has no value yet. Give data.options.table=VALUE" in refusal("data=mine", config_dir=tmp_path)
    assert compose(["data=mine", "data.options.table=t"], config_dir=tmp_path).recipe.data.options == {"table": "t"}


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):  # type: ignore[no-untyped-def]
    """Puts a distribution with options and an `__init__` that must not run on the path."""
    site = tmp_path / "site"
    site.mkdir()
    monkeypatch.syspath_prepend(str(site))

    def installed(name: str, **options: str) -> None:
        module = name.replace("-", "_")
        write(site / module / "__init__.py", "raise RuntimeError('a plugin that nobody asked for was imported')\n")
        for option, text in options.items():
            write(site / module / "conf" / f"{option.replace('__', '/')}.yaml", text)
        write(site / f"{module}-1.0.dist-info/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        write(site / f"{module}-1.0.dist-info/entry_points.txt", f"[cpt.recipes]\n{name} = {module}.conf\n")

    return installed


def test_a_package_adds_options_without_being_imported(install) -> None:  # type: ignore[no-untyped-def]
    install("cpt-acme", launcher__acme="name: acme\noptions: {partition: null}\n")
    install("cpt-board", logger__board="# @package logger.board\nrepo: .board\n")
    recipe = compose(["launcher=acme", "launcher.options.partition=gpu", "logger=[tensorboard,board]", "logger.board.repo=there"]).recipe
    assert (recipe.launcher.name, recipe.launcher.options) == ("acme", {"partition": "gpu"})
    assert recipe.logger == {"tensorboard": {}, "board": {"repo": "there"}}


def test_a_launcher_or_logger_without_an_option_is_chosen_by_its_name(install, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    install("cpt-bare", sched__other="name: cosine\n")
    entries = tmp_path / "site" / "cpt_bare-1.0.dist-info" / "entry_points.txt"
    entries.write_text("[cpt.loggers]\nboard = cpt_bare:Board\n[cpt.launchers]\nqueue = cpt_bare:Queue\n")
    words = ["logger=[csv,board]", "logger.board.digits=3", "launcher=queue", "launcher.options.partition=gpu"]
    recipe = compose(words).recipe
    assert recipe.logger == {"csv": {}, "board": {"digits": 3}}
    assert (recipe.launcher.name, recipe.launcher.options) == ("queue", {"partition": "gpu"})
    assert {"board", "tensorboard"} <= set(groups()["logger"])


def test_two_packages_with_one_option_are_an_error_that_names_both(install) -> None:  # type: ignore[no-untyped-def]
    install("cpt-one", launcher__far="name: far\noptions: {}\n")
    install("cpt-two", launcher__far="name: far\noptions: {}\n")
    text = refusal()
    assert "launcher/far: is offered twice" in text
    assert "cpt-one (" in text
    assert "cpt-two (" in text


def test_a_package_whose_options_are_missing_is_named(install) -> None:  # type: ignore[no-untyped-def]
    install("cpt-broken")
    assert "cpt-broken: cpt_broken.conf: its entry point in cpt.recipes leads to no folder" in refusal()


def test_the_door_imports_no_torch() -> None:
    heavy = {"torch", "lightning", "transformers", "s3fs"}
    code = f"import cpt.composition, sys; cpt.composition.compose([]); sys.exit(bool({heavy} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
