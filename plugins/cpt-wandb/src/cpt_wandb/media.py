"""Texts and figures as W&B keeps them."""

from __future__ import annotations

import html
import json
import tempfile
from collections.abc import Mapping

import wandb
from wandb.sdk.data_types.base_types.media import Media


def text_media(text: str) -> wandb.Html:
    """A text, shown as it is."""
    return wandb.Html(f"<pre>{html.escape(text)}</pre>", inject=False)


def figure_media(figure: Mapping[str, object]) -> wandb.Plotly:
    """A figure of Plotly's JSON; W&B's own constructor wants the object of a package that would only turn it into JSON again."""
    made = wandb.Plotly.__new__(wandb.Plotly)
    Media.__init__(made)
    with tempfile.NamedTemporaryFile("w", suffix=".plotly.json", delete=False) as file:
        json.dump(figure, file)
    made._set_file(file.name, is_tmp=True, extension=".plotly.json")
    return made
