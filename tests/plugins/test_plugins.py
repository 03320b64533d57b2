"""A name in a recipe becomes code through an installed distribution's entry point, or a fault that says which and why not."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from cpt import offers, plugins
from cpt.composition import compose
from cpt.errors import PluginError
from cpt.submission import find_launcher

GOOD = """
from pydantic import BaseModel
from cpt.contracts import Logger

class Options(BaseModel):
    repo: str
    interval: int = 10

class Good(Logger):
    Options = Options
    def start(self, recipe, step): ...
    def metrics(self, step, values): ...
    def text(self, step, name, text): ...
    def close(self): ...

class Shapeless(Good):
    Options = dict

not_a_class = 1
class NotALogger: ...
"""

Distribution = Callable[..., str]


@pytest.fixture
def distribution(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Distribution:
    """Installs a distribution: a module, and metadata with its entry points."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def install(name: str, entry: str, source: str = GOOD, group: str = "cpt.loggers", version: str = "1.2", requires: str = "") -> str:
        module = name.replace("-", "_")
        (tmp_path / f"{module}.py").write_text(source)
        monkeypatch.delitem(sys.modules, module, raising=False)
        info = tmp_path / f"{module}-{version}.dist-info"
        info.mkdir()
        needs = f"Requires-Dist: {requires}\n" if requires else ""
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{needs}")
        plugin, _, attribute = entry.partition("=")
        (info / "entry_points.txt").write_text(f"[{group}]\n{plugin} = {module}:{attribute}\n")
        return module

    return install


def refusal(name: str, options: dict[str, object] | None = None) -> PluginError:
    with pytest.raises(PluginError) as error:
        plugins.load("loggers", name, options or {}, f"logger.{name}")
    return error.value


def test_a_good_plugin_is_loaded_with_its_options(distribution: Distribution) -> None:
    distribution("acme-log", "acme=Good")
    found, options = plugins.load("loggers", "acme", {"repo": "x"}, "logger.acme")
    assert found.__name__ == "Good"
    assert options.model_dump() == {"repo": "x", "interval": 10}


def test_installed_reads_metadata_and_imports_nothing(distribution: Distribution) -> None:
    module = distribution("acme-log", "acme=Good", source="raise RuntimeError")
    assert plugins.Plugin("acme", "acme-log", "1.2", f"{module}:Good") in plugins.installed("loggers")
    assert module not in sys.modules
    assert "tensorboard" in {plugin.name for plugin in plugins.installed("loggers")}
    assert {"jsonl", "sample"} <= {plugin.name for plugin in plugins.installed("data_sources")}


def test_installed_is_quick() -> None:
    plugins.installed("loggers")
    started = time.process_time()
    plugins.installed("recipes")
    assert time.process_time() - started < 0.3


def test_a_missing_plugin_gets_the_nearest_name() -> None:
    fault = refusal("tensorbord").faults[0]
    assert (fault.where, fault.value, fault.cure) == ("logger.tensorbord", "tensorbord", "Did you mean tensorboard?")


def test_a_missing_plugin_that_we_know_gets_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(offers.OFFERED_BY, ("loggers", "abacus"), "cpt-abacus")
    assert refusal("abacus").faults[0].cure == "It comes with the plugin cpt-abacus, which is not installed"
    assert offers.package_of("logger", "abacus") == "cpt-abacus"
    assert offers.missing()["loggers", "abacus"] == "cpt-abacus"


def test_a_duplicate_names_both_distributions(distribution: Distribution) -> None:
    distribution("acme-log", "acme=Good")
    distribution("rival-log", "acme=Good", version="3")
    text = str(refusal("acme", {"repo": "x"}))
    assert "acme-log 1.2" in text
    assert "rival-log 3" in text


@pytest.mark.parametrize(
    ("source", "cause"),
    [
        ("import nowhere_to_be_found", "ModuleNotFoundError"),
        ("raise SystemExit(0)", "SystemExit"),
        ("raise RuntimeError('two\\nlines')", "RuntimeError"),
        ("x = (", "SyntaxError"),
        ("", "AttributeError"),
    ],
)
def test_a_broken_plugin_names_distribution_version_and_cause(distribution: Distribution, source: str, cause: str) -> None:
    distribution("acme-log", "acme=Good", source=source)
    text = str(refusal("acme"))
    assert "acme-log 1.2" in text
    assert cause in text
    assert "\n" not in text


@pytest.mark.parametrize("attribute", ["NotALogger", "not_a_class"])
def test_a_plugin_of_another_kind_is_refused(distribution: Distribution, attribute: str) -> None:
    distribution("acme-log", f"acme={attribute}")
    assert f"(acme_log:{attribute}) is no Logger" in str(refusal("acme"))


def test_a_plugin_that_lacks_what_its_contract_asks_for_is_refused(distribution: Distribution) -> None:
    distribution("acme-log", "acme=Good", source="from cpt.contracts import Logger\nclass Good(Logger):\n    def close(self): ...\n")
    assert "(acme_log:Good) lacks metrics, start, text. Tell its author." in str(refusal("acme"))


def test_a_plugin_for_another_core_is_refused_before_it_is_imported(distribution: Distribution) -> None:
    module = distribution("acme-log", "acme=Good", source="raise RuntimeError", requires="Cpt_Train >=0.2, <0.3")
    assert str(refusal("acme")).endswith(
        "acme-log 1.2 (acme_log:Good) needs cpt-train<0.3,>=0.2, and this is 0.1.0. pip install --upgrade acme-log."
    )
    assert module not in sys.modules


def test_options_that_are_no_model_are_refused(distribution: Distribution) -> None:
    distribution("acme-log", "acme=Shapeless")
    assert "no pydantic model" in str(refusal("acme"))


def test_every_wrong_option_is_a_fault_and_nothing_is_converted(distribution: Distribution) -> None:
    distribution("acme-log", "acme=Good")
    faults = refusal("acme", {"intervall": 3, "interval": "10"}).faults
    assert {fault.where for fault in faults} == {"logger.acme.repo", "logger.acme.interval", "logger.acme.intervall"}
    assert next(fault.cure for fault in faults if fault.where.endswith("intervall")) == "Did you mean interval?"


def test_loading_needs_no_torch() -> None:
    code = (
        "import sys, cpt.plugins as p; p.load('launchers', 'local', {}, 'launcher'); print('torch' in sys.modules, 's3fs' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False False"


def test_the_options_of_all_plugins_of_a_recipe_are_judged_together() -> None:
    words = ["data.options.sufix=x", "launcher=local", "launcher.options.quue=x", "logger=[csv,tensorboard]", "logger.csv.digits=3"]
    with pytest.raises(PluginError) as refused:
        find_launcher(compose(words).recipe)
    assert {fault.where for fault in refused.value.faults} == {"data.options.sufix", "launcher.options.quue", "logger.csv.digits"}
