"""The decoder: documents in one row do not see each other, and dropouts do what the recipe says."""

import math
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor

from cpt.model.attention import AttentionMask, attend
from cpt.model.decoder import Decoder

FORMS = ("causal", "spans", "dense")


def document_row(lengths: list[int]) -> tuple[Tensor, Tensor, Tensor]:
    """Tokens, positions and documents of one packed row."""
    tokens_1T = torch.randint(101, (1, sum(lengths)))
    positions_1T = torch.cat([torch.arange(length) for length in lengths])[None]
    documents_1T = torch.cat([torch.full((length,), index) for index, length in enumerate(lengths)])[None]
    return tokens_1T, positions_1T, documents_1T


@pytest.mark.parametrize("window", [None, 5])
@pytest.mark.parametrize("lengths", [[1, 20, 9, 30], [300, 700, 24]], ids=["masked", "taken apart"])
def test_packed_documents_have_the_losses_of_each_document_alone(make_decoder: Any, lengths: list[int], window: int | None) -> None:
    decoder: Decoder = make_decoder(family="mistral", sliding_window=window)
    tokens, positions, documents = document_row(lengths)
    packed = decoder(tokens, positions, documents, tokens)[0]
    edges = torch.tensor([0, *lengths]).cumsum(0).tolist()
    for start, end in pairwise(edges):
        alone = decoder(tokens[:, start:end], positions[:, start:end], None, tokens[:, start:end])[0]
        torch.testing.assert_close(packed[start:end], alone, atol=1e-5, rtol=1e-5)


def test_a_token_sees_no_later_token_and_no_other_document(make_decoder: Any) -> None:
    decoder: Decoder = make_decoder()
    tokens, positions, documents = document_row([10, 10])
    changed = tokens.clone()
    changed[0, 4] = (changed[0, 4] + 1) % 101
    differs = (decoder(tokens, positions, documents) != decoder(changed, positions, documents)).any(dim=-1)[0]
    assert differs.tolist() == [False] * 4 + [True] * 6 + [False] * 10


def test_the_cpu_takes_long_documents_apart_and_masks_short_ones() -> None:
    def plan(*lengths: int) -> AttentionMask:
        _, positions, documents = document_row(list(lengths))
        return AttentionMask.plan(positions, documents, None, 0)

    assert plan(64, 64, 64, 64).dense_BTS is not None
    assert plan(1000, 1000, 48).spans == ((0, 0, 1000), (0, 1000, 2000), (0, 2000, 2048))
    assert plan(256) == AttentionMask()


def attention_form(form: str, tokens: int) -> AttentionMask:
    if form == "causal":
        return AttentionMask()
    if form == "spans":
        return AttentionMask(spans=((0, 0, tokens),))
    return AttentionMask(dense_BTS=torch.ones(tokens, tokens, dtype=torch.bool).tril()[None, None])


@pytest.mark.parametrize("form", FORMS)
def test_attention_dropout_zeroes_weights_and_scales_the_others(form: str) -> None:
    tokens, p = 64, 0.25
    q, k = torch.randn(1, 4, tokens, 8), torch.randn(1, 2, tokens, 8)
    identity = torch.eye(tokens).expand(1, 2, tokens, tokens)  # as values it gives back the attention weights
    mask = attention_form(form, tokens)
    whole, dropped = attend(q, k, identity, mask, 0.0), attend(q, k, identity, mask, p)
    torch.testing.assert_close(dropped, torch.where(dropped == 0, 0, whole / (1 - p)))
    share = 1 - (dropped != 0).sum() / (whole != 0).sum()
    assert share == pytest.approx(p, abs=0.02)


@pytest.mark.parametrize("form", FORMS)
def test_attention_dropout_of_one_gives_zeros_and_finite_gradients(form: str) -> None:
    q, k, v = (torch.randn(1, 2, 16, 8, requires_grad=True) for _ in range(3))
    out = attend(q, k, v, attention_form(form, 16), 1.0)
    out.sum().backward()
    assert all(not tensor.any() for tensor in (out, q.grad, k.grad, v.grad))


def losses(decoder: Decoder) -> Tensor:
    torch.manual_seed(5)
    tokens, positions, documents = document_row([20, 30])
    return decoder(tokens, positions, documents, tokens)


def test_hidden_dropout_of_one_leaves_the_uniform_distribution(make_decoder: Any) -> None:
    dropped = losses(make_decoder((1.0, 0.0, 0.0)).train())
    torch.testing.assert_close(dropped, torch.full_like(dropped, math.log(101)))


@pytest.mark.parametrize(("dropouts", "projection"), [((0.0, 1.0, 0.0), "o_proj"), ((0.0, 0.0, 1.0), "down_proj")])
def test_other_dropouts_of_one_silence_their_block(make_decoder: Any, dropouts: tuple[float, float, float], projection: str) -> None:
    silenced: Decoder = make_decoder()
    for name, parameter in silenced.named_parameters():
        if projection in name:
            torch.nn.init.zeros_(parameter)
    torch.testing.assert_close(losses(make_decoder(dropouts).train()), losses(silenced))


def test_hidden_and_ffn_dropout_fall_on_the_outputs_that_the_recipe_names(make_decoder: Any) -> None:
    """Of every feature that each block's input gained, a quarter is dropped and the rest scaled by 4/3."""
    p = 0.25
    decoder: Decoder = make_decoder((p, 0.0, p), layers=1).train()
    seen: dict[str, Tensor] = {}

    def keep(name: str) -> Any:
        return lambda _module, inputs, output: seen.update({f"{name}.in": inputs[0], f"{name}.out": output})

    block = decoder.blocks[0]
    modules = {"embedding": decoder.model.embed_tokens, "block": block, "attention": block.self_attn, "ffn": block.mlp}
    for name, module in modules.items() | {"second_norm": block.post_attention_layernorm}.items():
        module.register_forward_hook(keep(name))
    losses(decoder)
    residual = seen["second_norm.in"]
    for gained, output in (
        (seen["block.in"], seen["embedding.out"]),
        (residual - seen["block.in"], seen["attention.out"]),
        (seen["block.out"] - residual, seen["ffn.out"]),
    ):
        dropped = gained.abs() < 1e-6
        torch.testing.assert_close(gained[~dropped], output[~dropped] / (1 - p), atol=1e-4, rtol=1e-3)
        assert dropped.float().mean() == pytest.approx(p, abs=0.03)


def test_each_dropout_differs_from_the_others_and_none_acts_in_evaluation(make_decoder: Any) -> None:
    settings = [(0.0, 0.0, 0.0), (0.1, 0.0, 0.0), (0.0, 0.1, 0.0), (0.0, 0.0, 0.1)]
    assert len({float(losses(make_decoder(dropouts).train()).detach().mean()) for dropouts in settings}) == 4
    assert len({float(losses(make_decoder(dropouts)).detach().mean()) for dropouts in settings}) == 1


def test_recomputed_blocks_give_the_same_loss_and_gradients_with_dropout(make_decoder: Any) -> None:
    tokens, positions, documents = document_row([20, 30])

    def gradients(recompute: bool) -> list[Tensor | None]:
        decoder: Decoder = make_decoder((0.1, 0.1, 0.1)).train()
        decoder.checkpoint_blocks = recompute
        torch.manual_seed(3)
        decoder(tokens, positions, documents, tokens).mean().backward()
        return [parameter.grad for parameter in decoder.parameters()]

    for kept, recomputed in zip(gradients(False), gradients(True), strict=True):
        torch.testing.assert_close(recomputed, kept, atol=0, rtol=0)


def test_the_number_of_parameters_is_the_one_that_the_plan_counts(make_decoder: Any) -> None:
    for shape in ({}, {"tied_embeddings": False}, {"attention_bias": True}, {"qk_norm": True}):
        decoder: Decoder = make_decoder(**shape)
        assert sum(parameter.numel() for parameter in decoder.parameters()) == decoder.architecture.parameters
        assert ("lm_head.weight" in decoder.state_dict()) != decoder.architecture.tied_embeddings
