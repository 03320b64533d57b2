"""What flags promise, and that a value out of their range is one line and exit code 2."""

from __future__ import annotations

from pathlib import Path

import pytest

from cpt import cli

EXPORTABLE = ["model=nova_pro", "cluster=p5x24", "data.train=s3://b/x.jsonl", "run.output=s3://b/out", "run.name=a"]


def refusal(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert cli.main(words) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    (line,) = shown.err.splitlines()
    return line


@pytest.mark.parametrize("flag", ["-c", "--cfg"])
def test_both_of_hydras_names_print_the_recipe(flag: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["train", "optim.lr=2e-5", flag, "job"]) == 0
    assert "  lr: 2.0e-05\n" in capsys.readouterr().out


@pytest.mark.parametrize("place", [["--help", "--config-dir"], ["--config-dir"]])
def test_help_lists_the_options_of_the_users_folder(tmp_path: Path, place: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data/corpus.yaml").write_text("source: jsonl\n")
    assert cli.main(["train", *place, str(tmp_path), "-h"]) == 0
    [options] = [line.split() for line in capsys.readouterr().out.splitlines() if line.startswith("  data  ")]
    assert {"corpus", "english_prose", "jsonl", "sample"} <= set(options)


@pytest.mark.parametrize(
    ("words", "least"),
    [
        (["generate", "run", "--prompt", "x", "--max-tokens", "0"], 1),
        (["generate", "run", "--prompt", "x", "--max-tokens", "-3"], 1),
        (["generate", "run", "--prompt", "x", "--seed", "9" * 40], 0),
        (["eval", "run", "--on", "a=b.jsonl", "--max-length", "1"], 2),
        (["eval", "run", "--on", "a=b.jsonl", "--max-length", "many"], 2),
    ],
)
def test_a_number_out_of_range_is_refused(words: list[str], least: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert f"must be a whole number, at least {least} and less than 2^31" in refusal(capsys, *words)


def test_two_sets_of_one_name_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert "--on: a=d.jsonl: a is named twice" in refusal(capsys, "eval", "run", "--on", "a=c.jsonl", "--on", "a=d.jsonl")


def test_a_recipe_is_written_where_to_says_or_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "new" / "amazon.yaml"
    assert cli.main(["recipe", "export", *EXPORTABLE, "--to", str(target)]) == 0
    assert 'model_name_or_path: "nova-pro/prod"' in target.read_text()
    capsys.readouterr()
    assert f"error: {tmp_path}: is a directory" in refusal(capsys, "recipe", "export", *EXPORTABLE, "--to", str(tmp_path))
    assert "scheme 'http' is refused" in refusal(capsys, "recipe", "export", *EXPORTABLE, "--to", "http://x/y.yaml")
