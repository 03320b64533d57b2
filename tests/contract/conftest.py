"""Fakes are material of test_wrong_fakes.py, never collected."""

collect_ignore_glob = ["fakes/*"]
