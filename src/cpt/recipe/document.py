"""YAML for other programs' readers, of 1.1 and of 1.2: Go's take `y`, `on` and `0o7` otherwise than Python's."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import yaml

_WORD = re.compile(r"[A-Za-z/][A-Za-z0-9._/-]*")
_TAKEN = frozenset({"y", "n", "yes", "no", "on", "off", "true", "false", "null"})


class Dumper(yaml.SafeDumper):
    """Quotes every text that is not a plain word, writes several lines as a block, and equal parts twice."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002
        """No anchors."""
        return True


def is_word(text: str) -> bool:
    """Whether every reader takes `text` for itself without quotes."""
    return _WORD.fullmatch(text) is not None and text.lower() not in _TAKEN


def write_document(tree: Mapping[str, Any]) -> str:
    """`tree` as one YAML document, in its order and in ASCII, that every reader turns into an equal one."""
    return yaml.dump(dict(tree), Dumper=Dumper, sort_keys=False, default_flow_style=False, width=140)


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None if is_word(text) else '"')


Dumper.add_representer(str, _text)
