"""The plugin that docs/plugins.md shows is a whole one: written out as it stands there, it is found, checked and used."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from cpt import plugins
from cpt.errors import PluginError

PAGE = (Path(__file__).parents[2] / "docs/plugins.md").read_text("utf-8")


def block(language: str) -> str:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, flags=re.MULTILINE | re.DOTALL)[0]


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The page's package as an installer would leave it."""
    project = tomllib.loads(block("toml"))["project"]
    (tmp_path / "cpt_echo.py").write_text(block("python"))
    metadata = tmp_path / f"cpt_echo-{project['version']}.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n")
    entries = [f"[{group}]\n" + "".join(f"{n} = {v}\n" for n, v in table.items()) for group, table in project["entry-points"].items()]
    (metadata / "entry_points.txt").write_text("\n".join(entries))
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


@pytest.mark.usefixtures("installed")
def test_it_is_found_by_name_and_yields_documents() -> None:
    source, options = plugins.load("data_sources", "echo", {"times": 3}, "data.source")
    assert list(source(options).documents(["one", "two"])) == ["oneoneone", "twotwotwo"]
    assert source(options).fingerprint(["one"]) == source(options).fingerprint(["one"])


@pytest.mark.usefixtures("installed")
def test_its_options_are_checked() -> None:
    with pytest.raises(PluginError, match=r"data\.options\.time.*Did you mean times"):
        plugins.load("data_sources", "echo", {"time": 3}, "data.source")


def test_without_it_the_name_is_refused() -> None:
    with pytest.raises(PluginError, match="no installed package offers this data source"):
        plugins.load("data_sources", "echo", {}, "data.source")
