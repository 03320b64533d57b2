"""Small decoders with weights of their own, in fp32 on the CPU."""

from collections.abc import Callable, Iterator

import pytest
import torch

from cpt.model.decoder import Decoder
from cpt.model.init import init_weights
from cpt.recipe.architecture import Architecture

SMALL = Architecture(
    family="llama",
    layers=2,
    width=48,
    heads=4,
    kv_heads=2,
    head_width=12,
    ffn_width=80,
    vocabulary=101,
    positions=128,
    rope_theta=10_000.0,
    norm_eps=1e-5,
    tied_embeddings=True,
)
MakeDecoder = Callable[..., Decoder]


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def small() -> Architecture:
    return SMALL


@pytest.fixture
def make_decoder() -> MakeDecoder:
    """A small decoder in eval mode; keywords of `Architecture` change its shape, `dropouts` are the three of `Decoder`."""

    def make(dropouts: tuple[float, float, float] = (0.0, 0.0, 0.0), **shape: object) -> Decoder:
        decoder = Decoder(Architecture.model_validate(SMALL.model_dump() | shape), *dropouts)
        init_weights(decoder, seed=1)
        with torch.no_grad():  # large enough that attention is far from uniform
            for parameter in decoder.parameters():
                parameter.mul_(8 if parameter.dim() == 2 else 1)
        return decoder.eval()

    return make
