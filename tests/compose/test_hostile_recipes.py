"""Recipes are data from strangers: none runs code, reads the environment or a file, or opens a connection; each is refused by name.

Every payload would leave a marker file if anything executed it, and a canary secret lies in the environment.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from cpt.composition import compose, job_yaml
from cpt.errors import RecipeError
from cpt.recipe.gate import write_yaml

CANARY = "canary-7f3a"
CALLS = {
    "os.mkdir": ["{marker}"],
    "os.system": ["touch {marker}"],
    "posix.system": ["touch {marker}"],
    "logging.os.system": ["touch {marker}"],
    "subprocess.run": [["touch", "{marker}"]],
    "builtins.open": ["{marker}", "w"],
    "builtins.eval": ["open('{marker}', 'w')"],
    "builtins.exec": ["open('{marker}', 'w')"],
    "io.open": ["{marker}", "w"],
    "pathlib.Path.touch": ["{marker}"],
    "pathlib.Path.write_text": ["{marker}", "x"],
    "shutil.copyfile": ["/etc/hostname", "{marker}"],
    "urllib.request.urlretrieve": ["file:///etc/hostname", "{marker}"],
    "torch.load": ["{marker}"],
    "torch.serialization.load": ["{marker}"],
    "torch.nn.functional.torch.load": ["{marker}"],
    "torch.hub.load": ["{marker}"],
    "lightning.fabric.utilities.cloud_io._load": ["{marker}"],
    "numpy.load": ["{marker}"],
    "pickle.loads": ["x"],
    "yaml.unsafe_load": ["!!python/object/apply:os.mkdir ['{marker}']"],
    "sympy.sympify": ["open('{marker}', 'w')"],
    "asyncio.run": ["x"],
    "site.addsitedir": ["{marker}"],
    "webbrowser.GenericBrowser.open": ["touch {marker}"],
    "runpy.run_path": ["{marker}"],
    "importlib.import_module": ["antigravity"],
    "hydra.utils.instantiate": [{"_target_": "os.mkdir", "_args_": ["{marker}"]}],
}


@pytest.fixture(autouse=True)
def guarded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The marker's path; after the test it does not exist and no connection was tried."""

    def refuse(*_: object) -> None:
        pytest.fail("a connection was opened")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setenv("CANARY", CANARY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", CANARY)
    monkeypatch.chdir(tmp_path)
    marker = tmp_path / "marker"
    yield marker
    assert not marker.exists()


def call(target: str, marker: Path) -> dict[str, object]:
    arguments = yaml.safe_load(yaml.safe_dump(CALLS[target]).replace("{marker}", str(marker)))
    return {"_target_": target, "_args_": arguments}


@cache
def whole_recipe() -> str:
    return job_yaml(compose([]))


def whole_tree() -> Any:
    return yaml.safe_load(whole_recipe())


def refusal(*overrides: str, recipe_file: Path | None = None, config_dir: Path | None = None) -> str:
    with pytest.raises(RecipeError) as error:
        compose(overrides, recipe_file=recipe_file, config_dir=config_dir)
    assert CANARY not in str(error.value)
    return str(error.value)


def test_the_corpus_has_the_28_calls() -> None:
    assert len(CALLS) == 28


PLACES = ["{call}", "data.options.{call}", "launcher.options.deep.{call}", "model.architecture.{call}", "logger.tensorboard.{call}"]


@pytest.mark.parametrize(("number", "target"), list(enumerate(CALLS)))
def test_a_call_on_the_command_line_is_refused(number: int, target: str) -> None:
    key = PLACES[number % len(PLACES)].format(call="_target_")
    assert "names components and never code" in refusal(f"+{key}={target}", f"+data.options.list=[[{{_target_: {target}}}]]")


@pytest.mark.parametrize("target", CALLS)
def test_a_call_in_a_recipe_file_is_refused(target: str, guarded: Path) -> None:
    payload = call(target, guarded)
    tree = whole_tree() | payload
    tree["data"] |= {"options": {"a": {"b": payload}, "c": [1, [payload]]}}
    tree["logger"] |= {"evil": payload}
    file = Path("recipe.yaml")
    file.write_text(write_yaml(tree))
    text = refusal(recipe_file=file)
    for place in ("", "data.options.a.b.", "data.options.c.1.0.", "logger.evil."):
        assert f"recipe.yaml: {place}_target_: _target_: a recipe names components and never code" in text


@pytest.mark.parametrize("target", CALLS)
def test_a_call_in_an_included_option_is_refused_even_if_it_is_not_chosen(target: str, guarded: Path) -> None:
    file = Path("mine/optim/evil.yaml")
    file.parent.mkdir(parents=True)
    file.write_text(yaml.safe_dump(call(target, guarded)))
    assert "evil.yaml: _target_" in refusal(config_dir=Path("mine"))


@pytest.mark.parametrize("key", ["_target_", "_partial_", "_args_", "_recursive_", "_convert_"])
def test_every_key_of_instantiate_is_refused(key: str) -> None:
    assert key in refusal(f"+data.options.{key}=1")


@pytest.mark.parametrize(
    "text",
    [
        "hydra:\n  callbacks:\n    x:\n      _target_: os.mkdir\n",
        "# @package hydra\ncallbacks: {x: 1}\n",
        "# @package _global_.hydra\ncallbacks: {x: 1}\n",
        "# @package hydra.job_logging\nformatters: {x: {'()': os.mkdir}}\n",
        "defaults: [override /hydra/launcher: joblib]\n",
        "defaults: [{override /hydra/job_logging: none}]\n",
        "defaults: [{/hydra/sweeper: optuna}]\n",
        "defaults: [/data@hydra.callbacks: sample]\n",
        "defaults: ['../../secret']\n",
        "defaults: ['pkg://evil/x']\n",
        "defaults: [{'/data': '${oc.env:CANARY}'}]\n",
    ],
)
def test_an_included_file_cannot_reach_hydra_or_another_place(text: str) -> None:
    file = Path("mine/experiment/evil.yaml")
    file.parent.mkdir(parents=True)
    file.write_text(text)
    assert "evil.yaml" in refusal("experiment=evil", config_dir=Path("mine"))


def test_a_folder_cannot_bring_a_hydra_group() -> None:
    file = Path("mine/hydra/launcher/evil.yaml")
    file.parent.mkdir(parents=True)
    file.write_text("a: 1\n")
    assert "Hydra's own configuration" in refusal(config_dir=Path("mine"))


@pytest.mark.parametrize(
    "value",
    [
        "${oc.env:CANARY}",
        "${oc.env:AWS_SECRET_ACCESS_KEY,x}",
        "${oc.env: CANARY }",
        "x-${oc.env:CANARY}",
        "${oc.decode:${oc.env:CANARY}}",
        "${oc.create:${oc.env:CANARY}}",
        "${oc.deprecated:run.name}",
        "${oc.dict.keys:run}",
        "${oc.select:run.name}",
        "${hydra:runtime.cwd}",
        "${env:CANARY}",
        "${now:%Y}",
        "${${run.name}:CANARY}",
        "${oc.${run.name}:CANARY}",
        "${oc.env:CPT_${run.name}}",
    ],
)
def test_a_resolver_outside_the_allowlist_is_refused(value: str) -> None:
    keys = ["run.name", "run.output", "data.options.x", "logger.tensorboard.x"]
    text = refusal(*(f"{key}='{value}'" for key in keys))
    assert all(f"{key}: " in text for key in keys)


def test_an_allowed_variable_is_not_written_into_the_saved_recipe(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CPT_OUTPUT", "somewhere")
    composed = compose(["run.output='${oc.env:CPT_OUTPUT}/runs'"])
    assert composed.recipe.run.output == "somewhere/runs"
    assert "somewhere" not in job_yaml(composed)
    assert "${oc.env:CPT_OUTPUT}/runs" in job_yaml(composed)
    assert "somewhere/runs" in job_yaml(composed, resolve=True)


@pytest.mark.parametrize(
    "location",
    [
        "http://169.254.169.254/latest",
        "https://example.org/x.jsonl",
        "filecache::http://169.254.169.254/x.jsonl",
        "simplecache::file:///etc/passwd",
        "zip://x.jsonl::http://example.org/a.zip",
        "dir::file:///etc",
        "data:text/plain,x",
        "s3://user:secret@bucket/x.jsonl",
        "reference://x.jsonl",
        "github://o:r@main/x.jsonl",
    ],
)
def test_a_location_outside_the_allowed_schemes_is_refused_unopened(location: str) -> None:
    keys = ["data.train", "run.output", "model.init", "tokenizer.path", "data.store"]
    text = refusal("tokenizer=file", *(f"{key}='{location}'" for key in keys))
    assert all(f"{key}: " in text for key in keys)


@pytest.mark.parametrize(
    "name",
    ["../../etc", "a/../../b", "/abs", "..", ".", "-rf", "a;b", "a.", "x" * 300, "a b", "$(touch m)", "`touch m`", "a\nb", "Ａ", "a\0b"],
)
def test_a_run_name_that_leaves_its_folder_or_is_no_name_is_refused(name: str) -> None:
    assert "run.name" in refusal(f"run.name='{name}'")


@pytest.mark.parametrize("key", ["a\0b", "a\u202eb", "a\u200bb", "a\x1bb", "a\ufeffb", "a\x85b"])
def test_a_key_with_invisible_characters_is_refused(key: str) -> None:
    file = Path("recipe.yaml")
    file.write_text(whole_recipe().replace("options: {}", 'options: {"' + "".join(f"\\U{ord(c):08x}" for c in key) + '": 1}', 1))
    assert "printable characters" in refusal(recipe_file=file)


@pytest.mark.parametrize("text", ["data.options=" + "[" * 2000, "data.options=" + "{a:" * 1000, "a" * 100_000, "=" * 5000, "${" * 5000])
def test_an_override_made_to_break_the_parser_is_a_plain_fault(text: str) -> None:
    assert len(refusal(text)) < 1000


def test_interpolations_cannot_grow_a_value_without_end() -> None:
    chain = [f"data.options.k{i}='${{data.options.k{i + 1}}}${{data.options.k{i + 1}}}'" for i in range(40)]
    assert "10,000 characters" in refusal(*chain, "data.options.k40=xxxxxxxxxx")
    assert "refers to itself" in refusal("run.output='${run.output}'")
    assert "not a single value" in refusal("data.options.x='${data}'")
