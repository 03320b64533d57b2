"""YAML that every reader takes alike: kubectl's reads `y`, `on`, `1e3` and `0o7` otherwise than Python's."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import yaml

_PLAIN = re.compile(r"/?[A-Za-z][A-Za-z0-9._/-]{2,}")
_WORDS = frozenset({"yes", "off", "true", "false", "null"})


class _Dumper(yaml.SafeDumper):
    """Quotes every text that is not a plain word, and writes equal parts out twice."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002
        return True


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.Node:
    is_plain = _PLAIN.fullmatch(text) and text.lower() not in _WORDS
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=None if is_plain else '"')


_Dumper.add_representer(str, _represent_text)


def write_manifest(objects: Iterable[dict[str, Any]]) -> str:
    """The objects as YAML documents."""
    return yaml.dump_all(objects, Dumper=_Dumper, sort_keys=False, width=140, explicit_start=True)
