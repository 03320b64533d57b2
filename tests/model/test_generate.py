"""Generation with a cache says what the decoder without one says."""

from typing import Any

import pytest
import torch

from cpt.errors import DataError
from cpt.model.attention import KeyValueCache
from cpt.model.decoder import Decoder
from cpt.model.generate import Sampling, generate

PROMPT = [3, 14, 15, 92, 65]


def without_cache(decoder: Decoder, prompt: list[int], tokens: int) -> list[int]:
    ids = list(prompt)
    for _ in range(tokens):
        logits = decoder(torch.tensor([ids]), torch.arange(len(ids))[None])
        ids.append(int(logits[0, -1].argmax()))
    return ids[len(prompt) :]


@pytest.mark.parametrize("window", [None, 4])
def test_a_cache_changes_nothing(make_decoder: Any, window: int | None) -> None:
    decoder = make_decoder(family="mistral", sliding_window=window, tied_embeddings=False)
    seen: list[int] = []
    ids = generate(decoder, PROMPT, 20, on_token=seen.append)
    assert ids == seen == without_cache(decoder, PROMPT, 20)
    assert len(set(ids)) > 3, "a constant continuation would prove nothing"


@pytest.mark.parametrize("window", [None, 4])
def test_a_cache_may_be_fed_several_tokens_at_a_time(make_decoder: Any, window: int | None) -> None:
    decoder = make_decoder(family="mistral", sliding_window=window, tied_embeddings=False)
    tokens, positions = torch.randint(101, (2, 12)), torch.arange(12).expand(2, 12)
    cache = KeyValueCache(capacity=12)
    for start, end in ((0, 5), (5, 6), (6, 12)):
        last = decoder(tokens[:, start:end], positions[:, start:end], cache=cache)
        torch.testing.assert_close(last, decoder(tokens[:, :end], positions[:, :end])[:, -1:], atol=1e-4, rtol=1e-4)


def test_generation_stops_before_eos_and_where_positions_end(make_decoder: Any) -> None:
    decoder = make_decoder(positions=16, tied_embeddings=False)
    ids = generate(decoder, PROMPT, 1000)
    assert len(PROMPT[-1:] + ids) == 16
    assert generate(decoder, PROMPT, 5, eos_id=generate(decoder, PROMPT, 5)[2]) == generate(decoder, PROMPT, 5)[:2]
    assert generate(decoder, list(range(50)), 4) == generate(decoder, list(range(38, 50)), 4)
    assert generate(decoder, PROMPT, 0) == []


def test_sampling_is_decided_by_its_seed_and_top_p(make_decoder: Any) -> None:
    decoder = make_decoder()
    drawn = [generate(decoder, PROMPT, 12, sampling=Sampling(temperature=2.0, seed=seed)) for seed in (1, 1, 2)]
    assert drawn[0] == drawn[1] != drawn[2]
    assert generate(decoder, PROMPT, 12, sampling=Sampling(top_p=1e-9)) == generate(decoder, PROMPT, 12)


def test_dropout_rests_and_the_mode_comes_back(make_decoder: Any) -> None:
    expected = generate(make_decoder(), PROMPT, 8)
    decoder = make_decoder((0.5, 0.5, 0.5)).train()
    assert generate(decoder, PROMPT, 8) == expected
    assert decoder.training


def test_an_empty_prompt_is_refused(make_decoder: Any) -> None:
    with pytest.raises(DataError, match="at least one token"):
        generate(make_decoder(), [], 5)
