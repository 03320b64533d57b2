"""Rotary positions: each pair of a head's features turns by an angle that grows with the token's position."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from cpt.recipe.architecture import Architecture, RopeScaling


class Rope:
    """Cosines and sines of the rotation, by position.

    Not a module: its frequencies are no weights, must stay fp32 whatever the model is cast to, and must outlive a construction on the
    meta device.

    Source: RoFormer, arXiv 2104.09864, equation 34, in the half-split layout of Hugging Face's weights.
    """

    def __init__(self, architecture: Architecture) -> None:
        self._frequencies, self._magnitude = rotary_frequencies(architecture)

    def __call__(self, positions_BT: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """Cosine and sine [B, 1, T, K], computed in fp32 and given in `dtype`."""
        self._frequencies = self._frequencies.to(positions_BT.device)
        half_angles = positions_BT[:, None, :, None].float() * self._frequencies
        angles = torch.cat((half_angles, half_angles), dim=-1)
        return (angles.cos() * self._magnitude).to(dtype), (angles.sin() * self._magnitude).to(dtype)


def rotate(x_BHTK: Tensor, cosine_B1TK: Tensor, sine_B1TK: Tensor) -> Tensor:
    """Rotates queries or keys to their positions."""
    first, second = x_BHTK.chunk(2, dim=-1)
    return x_BHTK * cosine_B1TK + torch.cat((-second, first), dim=-1) * sine_B1TK


def rotary_frequencies(architecture: Architecture) -> tuple[Tensor, float]:
    """Radians a position for each of the K / 2 feature pairs (fp32, on the CPU), and the factor on cosine and sine."""
    exponents = torch.arange(0, architecture.head_width, 2, dtype=torch.float32, device="cpu") / architecture.head_width
    frequencies = 1.0 / architecture.rope_theta**exponents
    match architecture.rope_scaling:
        case None:
            return frequencies, 1.0
        case RopeScaling(type="linear", factor=factor):
            return frequencies / factor, 1.0
        case RopeScaling(type="llama3") as scaling:
            return _llama3(frequencies, scaling, architecture.positions), 1.0
        case scaling:
            return _yarn(frequencies, scaling, architecture)


def _llama3(frequencies: Tensor, scaling: RopeScaling, positions: int) -> Tensor:
    """Slow pairs are divided by the factor, fast ones kept, those between blended by how often they turn within the original positions.

    Source: Llama 3.1, https://github.com/meta-llama/llama-models, models/llama3/model.py, `apply_scaling`.
    """
    low, high = scaling.low_freq_factor or 1.0, scaling.high_freq_factor or 4.0
    turns = (scaling.original_positions or positions) * frequencies / (2 * math.pi)
    kept = ((turns - low) / (high - low)).clamp(0, 1)
    return frequencies * (kept + (1 - kept) / scaling.factor)


def _yarn(frequencies: Tensor, scaling: RopeScaling, architecture: Architecture) -> tuple[Tensor, float]:
    """Blends as `_llama3` does, by a ramp over the index of the pair, and sharpens attention by a constant factor.

    Source: YaRN, arXiv 2309.00071, sections 3.2 to 3.4, with the ramp's ends rounded outwards as in its reference code.
    """
    pairs = len(frequencies)
    original = scaling.original_positions or architecture.positions

    def pair_that_turns(times: float) -> float:
        return pairs * math.log(original / (times * 2 * math.pi)) / math.log(architecture.rope_theta)

    first = max(math.floor(pair_that_turns(scaling.beta_fast or 32.0)), 0)
    last = min(math.ceil(pair_that_turns(scaling.beta_slow or 1.0)), architecture.head_width - 1)
    stretched = ((torch.arange(pairs, dtype=torch.float32, device="cpu") - first) / max(last - first, 0.001)).clamp(0, 1)
    magnitude = scaling.attention_factor or 0.1 * math.log(scaling.factor) + 1.0
    return frequencies * (1 - stretched + stretched / scaling.factor), magnitude
