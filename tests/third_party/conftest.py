"""Packages of strangers: tested where they are installed (`nox -s third_party`, tests/plugins/test_strangers.py), never from this tree."""

collect_ignore_glob = ["*"]
