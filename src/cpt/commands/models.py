"""Verbs about a model that is there: evaluate, generate, export."""

from __future__ import annotations

import argparse

from cpt.commands.output import show
from cpt.errors import UserError


def evaluate(arguments: argparse.Namespace) -> None:
    from cpt import api

    sets: dict[str, str] = {}
    for text in arguments.on:
        name, file = _named_file(text)
        if name in sets:
            raise UserError("--on", text, f"{name} is named twice", "Give each file a name of its own")
        sets[name] = file
    results = api.evaluate(arguments.model, sets, checkpoint=arguments.checkpoint, max_length=arguments.max_length)
    lines = [
        f"{name}: loss {r['loss']:.4f} · perplexity {r['perplexity']:.3f} · {r['bits_per_byte']:.4f} bits a byte · {r['tokens']} tokens"
        f" · {r['documents']} documents · windows of {r['max_length']}"
        for name, r in results.items()
    ]
    show(arguments, results, lines)


def _named_file(text: str) -> tuple[str, str]:
    name, separator, file = text.partition("=")
    if not separator or not name or not file:
        raise UserError("--on", text, "must be NAME=FILE", "For example --on domain=held_out.jsonl")
    return name, file


def generate(arguments: argparse.Namespace) -> None:
    from cpt import api

    text = api.generate(
        arguments.model,
        arguments.prompt,
        checkpoint=arguments.checkpoint,
        max_tokens=arguments.max_tokens,
        greedy=arguments.greedy,
        seed=arguments.seed,
    )
    print(text)


def export(arguments: argparse.Namespace) -> None:
    from cpt import api

    print(api.export(arguments.model, arguments.to, checkpoint=arguments.checkpoint))
