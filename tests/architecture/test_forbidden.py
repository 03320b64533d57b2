"""Data never becomes code: the constructs that do it are not in the tree."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

SRC = Path(__file__).parents[2] / "src"
MODULES = {"pickle", "cPickle", "dill", "cloudpickle", "shelve", "marshal", "joblib"}
BUILTINS = {"eval", "exec", "compile", "__import__"}
ATTRIBUTES = {
    "load_from_checkpoint",
    "instantiate",
    "os.system",
    "os.popen",
    "torch.load",
    "torch.save",
    "yaml.unsafe_load",
    "yaml.full_load",
    "hydra.main",
}
SWITCHES = {"shell", "trust_remote_code", "allow_pickle"}


def forbidden(source: str) -> list[str]:
    """What stands in `source` that must not."""
    tree = ast.parse(source)
    loaders = safe_loaders(tree)
    return [fault for node in ast.walk(tree) for fault in faults(node, loaders)]


def safe_loaders(tree: ast.Module) -> set[str]:
    """Module-level names for YAML's safe loader, or for a class derived from it."""
    names = {"SafeLoader", "CSafeLoader"}
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and names & set().union(*map(identifiers, node.bases)):
            names.add(node.name)
        elif isinstance(node, ast.AnnAssign) and names & identifiers(node):
            names.add(ast.unparse(node.target))
    return names


def identifiers(node: ast.AST) -> set[str]:
    return {
        child.id if isinstance(child, ast.Name) else child.attr for child in ast.walk(node) if isinstance(child, ast.Name | ast.Attribute)
    }


def faults(node: ast.AST, loaders: set[str]) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names if alias.name.partition(".")[0] in MODULES)
    elif isinstance(node, ast.ImportFrom) and node.module:
        names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        yield from (name for name in names if name.partition(".")[0] in MODULES or is_listed(name))
    elif isinstance(node, ast.Attribute) and is_listed(ast.unparse(node)):
        yield ast.unparse(node)
    elif isinstance(node, ast.Call):
        yield from call_faults(node, loaders)


def is_listed(name: str) -> bool:
    return name in ATTRIBUTES or name.rpartition(".")[2] in ATTRIBUTES


def call_faults(call: ast.Call, loaders: set[str]) -> Iterator[str]:
    name = ast.unparse(call.func)
    if name in BUILTINS:
        yield name
    yield from (key.arg for key in call.keywords if key.arg in SWITCHES and ast.unparse(key.value) != "False")
    given = [*call.args[1:], *(key.value for key in call.keywords)]
    if name in ("yaml.load", "yaml.load_all") and not loaders & set().union(*map(identifiers, given)):
        yield name


@pytest.mark.parametrize("path", sorted(SRC.rglob("*.py")), ids=lambda path: str(path.relative_to(SRC)))
def test_nothing_here_turns_data_into_code(path: Path) -> None:
    assert forbidden(path.read_text()) == []


@pytest.mark.parametrize(
    "line",
    [
        "import pickle",
        "from pickle import loads",
        "import torch; torch.load('x')",
        "from torch import load",
        "eval('1')",
        "exec(text)",
        "subprocess.run('x', shell=True)",
        "subprocess.run('x', shell=flag)",
        "os.system('x')",
        "yaml.load(text, Loader=yaml.Loader)",
        "yaml.load(text)",
        "class Gate(yaml.Loader): ...\nyaml.load(text, Loader=Gate)",
        "Module.load_from_checkpoint(path)",
        "AutoModel.from_pretrained(path, trust_remote_code=True)",
        "hydra.utils.instantiate(node)",
        "from hydra.utils import instantiate",
        "numpy.load(path, allow_pickle=True)",
    ],
)
def test_each_construct_is_found(line: str) -> None:
    assert forbidden(line)


@pytest.mark.parametrize(
    "line",
    ["model.eval()", "yaml.safe_load(text)", "class Gate(yaml.SafeLoader): ...\nyaml.load(text, Loader=Gate)", "run(x, shell=False)"],
)
def test_what_only_looks_like_one_is_not(line: str) -> None:
    assert forbidden(line) == []
