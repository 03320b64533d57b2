"""Continuations, a token at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from cpt.errors import DataError
from cpt.model.attention import KeyValueCache
from cpt.model.decoder import Decoder


@dataclass(frozen=True)
class Sampling:
    """How a token is drawn from the model's distribution.

    Args:
        temperature: Divides the logits before; above 0.
        top_p: Draws among the likeliest tokens that together reach this probability, (0, 1].
        seed: Of the drawing; the same on every device.

    Source: nucleus sampling, arXiv 1904.09751, section 3.1.
    """

    temperature: float = 1.0
    top_p: float = 1.0
    seed: int = 0


@torch.no_grad()
def generate(
    decoder: Decoder,
    prompt: Sequence[int],
    max_tokens: int,
    eos_id: int | None = None,
    sampling: Sampling | None = None,
    on_token: Callable[[int], None] = lambda _: None,
) -> list[int]:
    """Token ids that continue `prompt`, without it and without the EOS that ends them.

    On a sharded decoder every rank calls it alike, and all get the same ids.

    Args:
        decoder: Its dropouts rest meanwhile.
        prompt: Token ids; of a prompt too long for the decoder's positions, its end.
        max_tokens: Most tokens to add; fewer where the positions end.
        eos_id: Stops here; None: never.
        sampling: How tokens are drawn; None: greedily, always the likeliest.
        on_token: Called with each id as soon as it is known.

    Raises:
        DataError: The prompt holds no token.
    """
    if not prompt:
        raise DataError("prompt", "", "must hold at least one token", "Give some text: this tokenizer adds no first token by itself")
    positions = decoder.architecture.positions
    prompt = list(prompt)[-max(1, positions - max_tokens) :]
    generator = torch.Generator().manual_seed(sampling.seed if sampling else 0)
    ids: list[int] = []
    with _without_dropout(decoder):
        for logits_V in _logits(decoder, prompt, ids, min(max_tokens, positions - len(prompt))):
            token = _draw(logits_V, sampling, generator) if sampling else int(logits_V.argmax())
            if token == eos_id:
                break
            ids.append(token)
            on_token(token)
    return ids


def _logits(decoder: Decoder, prompt: list[int], ids: list[int], max_tokens: int) -> Iterator[Tensor]:
    """Logits (fp32, on the CPU) of the token after `prompt` and `ids`, to which the caller appends one before asking again."""
    device = next(decoder.parameters()).device
    cache = KeyValueCache(capacity=len(prompt) + max_tokens)
    for _ in range(max_tokens):
        new = ids[-1:] or prompt
        positions = torch.arange(cache.length, cache.length + len(new), device=device)
        yield decoder(torch.tensor([new], device=device), positions[None], cache=cache)[0, -1].float().cpu()


def _draw(logits_V: Tensor, sampling: Sampling, generator: torch.Generator) -> int:
    probabilities, tokens = (logits_V / sampling.temperature).softmax(dim=-1).sort(descending=True)
    before = probabilities.cumsum(dim=-1) - probabilities
    kept = probabilities.masked_fill(before >= sampling.top_p, 0)
    return int(tokens[torch.multinomial(kept, 1, generator=generator)])


@contextmanager
def _without_dropout(decoder: Decoder) -> Iterator[None]:
    training = decoder.training
    decoder.eval()
    try:
        yield
    finally:
        decoder.train(training)
