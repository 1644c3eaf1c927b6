import math
from typing import Any

import numpy as np
import pytest
import torch
from cpbench.baselines.bsarec import BSARec, BSARecConfig, low_pass_weights

from cpbench.models.base import Facts, Histories, Sequences
from cpbench.training.loop import seed_everything

LENGTH = 6


def build(**config: Any) -> BSARec:
    seed_everything(1, 0)
    model = BSARec(BSARecConfig(**{"width": 8, "length": LENGTH, "frequencies": 3, **config}), Facts(20, {})).eval()
    with torch.no_grad():
        for parameter in model.parameters():  # biases and norms start at 0 and 1: make them matter
            parameter.add_(0.3 * torch.randn_like(parameter))
    return model


def low_pass_by_fourier(signal: np.ndarray, frequencies: int) -> np.ndarray:
    """The authors' filter: transform the whole window [L, D], keep the lowest c // 2 + 1 bins, transform back."""
    spectrum = np.fft.rfft(signal, axis=0, norm="ortho")
    spectrum[frequencies // 2 + 1:] = 0
    return np.fft.irfft(spectrum, n=len(signal), axis=0, norm="ortho")


@pytest.mark.parametrize("length", [1, 2, 5, 6, 50])
@pytest.mark.parametrize("frequencies", [1, 2, 3, 5, 9, 100])
def test_the_weights_are_the_last_row_of_a_fourier_low_pass(length: int, frequencies: int) -> None:
    signal = np.random.default_rng(length).normal(size=(length, 3))
    weights = low_pass_weights(length, frequencies).numpy()
    found = sum(weights[distance] * signal[length - 1 - distance] for distance in range(length))
    np.testing.assert_allclose(found, low_pass_by_fourier(signal, frequencies)[-1], atol=1e-5)


def norm(x: torch.Tensor, layer: torch.nn.LayerNorm) -> torch.Tensor:
    centred = x - x.mean()
    return centred / torch.sqrt((centred**2).mean() + layer.eps) * layer.weight + layer.bias


def hidden_slowly(model: BSARec, items: list[int]) -> list[torch.Tensor]:
    """One position at a time: the prefix padded with zeros on the left to L, its Fourier transform, its last row."""
    config, length = model.config, len(items)
    x = [norm(model.items.weight[item] + model.positions.weight[config.length - length + place], model.norm)
         for place, item in enumerate(items)]
    for block in model.blocks:
        after = []
        for q in range(length):
            window = np.zeros((config.length, config.width))
            window[config.length - 1 - q:] = torch.stack(x[:q + 1]).numpy()
            low = torch.from_numpy(low_pass_by_fourier(window, config.frequencies)[-1]).float()
            filtered = low + block.frequency.sqrt_beta**2 * (x[q] - low)
            frequency = norm(filtered + x[q], block.frequency.norm)

            queries, keys, values = zip(*(block.attention.query_key_value(row).chunk(3) for row in x[:q + 1]),
                                        strict=True)
            weights = torch.exp(torch.stack([queries[q] @ key / math.sqrt(config.width) for key in keys]))
            mixed = sum(weight * value for weight, value in zip(weights / weights.sum(), values, strict=True))
            attended = norm(block.attention.output(mixed) + x[q], block.attention_norm)

            both = config.alpha * frequency + (1 - config.alpha) * attended
            after.append(norm(both + block.feed_forward(both), block.feed_forward_norm))
        x = after
    return x


@torch.no_grad()
def test_the_model_equals_its_slow_form_position_by_position() -> None:
    model = build()
    rows = [[3, 1, 4], [1, 5, 9, 2, 6, 5]]
    fast = model.hidden(Histories.of_lists(rows).padded(LENGTH))
    for b, row in enumerate(rows):
        for q, slow in enumerate(hidden_slowly(model, row)):
            torch.testing.assert_close(fast[b, q], slow, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_a_transform_over_the_whole_sequence_would_leak_and_ours_does_not() -> None:
    model, rows = build(), ([1, 2, 3, 4, 5, 6], [1, 2, 3, 4, 5, 9])
    whole = [low_pass_by_fourier(model.items.weight[torch.tensor(row)].numpy(), 3) for row in rows]
    assert np.abs(whole[0][:5] - whole[1][:5]).max() > 1e-2
    states = [model.hidden(Histories.of_lists([row]).padded(LENGTH)) for row in rows]
    torch.testing.assert_close(states[0][:, :5], states[1][:, :5], rtol=0, atol=0)


@torch.no_grad()
def test_padding_changes_nothing() -> None:
    model = build()
    alone = Histories.of_lists([[3, 1, 4]]).padded(LENGTH)
    wide = Sequences(torch.tensor([[3, 1, 4, 7, 7, 7]]), torch.zeros(1, 6, dtype=torch.int64), torch.tensor([3]))
    torch.testing.assert_close(model.hidden(wide)[:, :3], model.hidden(alone))


def test_a_width_that_heads_do_not_divide_is_refused() -> None:
    with pytest.raises(ValueError, match="width 8 is not a multiple of heads 3"):
        build(heads=3)
