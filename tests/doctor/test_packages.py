"""Packages and plugins as their metadata says: real distributions on the path, good, old, missing and doubled."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from cpt.composition import compose
from cpt.doctor import CHECKS, QUESTIONS, Finding, examine

Offer = Callable[..., None]


def findings(subject: str, *overrides: str) -> list[Finding]:
    return list(examine(compose(overrides).recipe, {subject: CHECKS[subject]}, {}).findings)


@pytest.fixture
def offer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Offer:
    """Leaves a distribution as an installer would, before all others on the path."""

    def leave(name: str, version: str, requires: tuple[str, ...] = (), entries: str = "") -> None:
        metadata = tmp_path / f"{name.replace('-', '_')}-{version}.dist-info"
        metadata.mkdir()
        lines = [f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}", *(f"Requires-Dist: {text}" for text in requires)]
        (metadata / "METADATA").write_text("\n".join(lines) + "\n")
        (metadata / "entry_points.txt").write_text(entries)
        (tmp_path / "cpt_fake.py").write_text("raise SystemExit('imported')\n")

    monkeypatch.syspath_prepend(tmp_path)
    return leave


def test_all_requirements_are_met_here() -> None:
    (finding,) = findings("packages")
    assert finding.level == "ok"
    assert {"torch", "pydantic", "hydra-core"} <= finding.figures.keys()


def test_a_package_out_of_range_is_named_with_the_range(offer: Offer) -> None:
    offer("tokenizers", "0.1.0")
    (finding,) = findings("packages")
    assert finding.level == "problem"
    assert "tokenizers 0.1.0 is not <1,>=0.22" in finding.text
    assert finding.cure.startswith("pip install --upgrade cpt-train==")


def test_a_plugin_whose_package_lacks_something_is_a_warning_unless_it_is_asked_for(offer: Offer) -> None:
    offer("cpt-fake", "1.0", ("not-there>=2", "pydantic<1", "never; extra == 'x'"), "[cpt.loggers]\nfake = cpt_fake:Fake\n")
    wrong = [finding for finding in findings("plugins") if "cpt-fake" in finding.text]
    assert [finding.level for finding in wrong] == ["warning", "warning"]
    assert "not-there is not installed" in wrong[0].text
    assert "pydantic" in wrong[1].text
    assert "is not <1" in wrong[1].text
    asked = [finding for finding in findings("plugins", "+logger.fake={}") if "cpt-fake" in finding.text]
    assert [finding.level for finding in asked] == ["problem", "problem"]


def test_a_plugin_for_another_core_is_named(offer: Offer) -> None:
    offer("cpt-fake", "1.0", ("cpt-train>=9",), "[cpt.loggers]\nfake = cpt_fake:Fake\n")
    assert any("needs cpt-train>=9" in finding.text for finding in findings("plugins"))


def test_a_name_that_two_offer_names_both(offer: Offer) -> None:
    offer("cpt-fake", "1.0", (), "[cpt.loggers]\nfake = cpt_fake:Fake\n")
    offer("cpt-rival", "2.0", (), "[cpt.loggers]\nfake = cpt_fake:Fake\n")
    texts = " ".join(finding.text for finding in findings("plugins"))
    assert "cpt-fake 1.0" in texts
    assert "cpt-rival 2.0" in texts


def test_what_nobody_offers_is_a_problem() -> None:
    asked = findings("plugins", "+logger.nobody={}")
    assert [finding.text for finding in asked if finding.level == "problem"] == ["logger: no installed package offers nobody"]


def test_a_launcher_that_cannot_be_imported_is_an_answer(offer: Offer) -> None:
    offer("cpt-fake", "1.0", (), "[cpt.launchers]\nfake = cpt_fake:Fake\n")
    report = examine(compose([]).recipe, {}, {"launchers": QUESTIONS["launchers"]})
    answers = {answer.what: answer for answer in report.answers}
    assert answers["launcher=fake"].works is False
    assert "cpt-fake 1.0" in answers["launcher=fake"].why
    assert answers["launcher=local"].works is True
