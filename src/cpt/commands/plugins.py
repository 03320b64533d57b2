"""`cpt plugins`."""

from __future__ import annotations

import argparse


def show(arguments: argparse.Namespace) -> None:
    raise NotImplementedError


def new(arguments: argparse.Namespace) -> None:
    raise NotImplementedError
