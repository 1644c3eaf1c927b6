"""On a GPU every model computes what it computes on a processor, and a seed gives the same numbers again."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch

from cpbench.data import synthetic
from cpbench.data.protocol import Protocol, Split, split
from cpbench.evaluation.evaluate import evaluate
from cpbench.evaluation.ranking import ranks_of
from cpbench.models.base import NeuralRecommender
from cpbench.models.examination import Examination
from cpbench.models.histories import Histories
from cpbench.models.losses import binary_cross_entropy, full_softmax, sampled_softmax
from cpbench.models.registry import model_class, model_names
from cpbench.training.config import TrainingConfig
from cpbench.training.loop import choose_device, train

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="this machine has no GPU")
TRAINED = [name for name in model_names() if issubclass(model_class(name), NeuralRecommender)]


@pytest.fixture(autouse=True)
def gpu() -> Iterator[torch.device]:
    before = torch.are_deterministic_algorithms_enabled()
    yield choose_device("cuda")
    torch.use_deterministic_algorithms(before)


@pytest.fixture(scope="module")
def data() -> Split:
    return split(synthetic.random_dataset(), Protocol())


def trained(name: str, data: Split, device: str, **keys: object) -> NeuralRecommender:
    kind = model_class(name)
    model = Examination(kind, kind.for_examination()).built(data.dataset)
    assert isinstance(model, NeuralRecommender)
    train(model, data, TrainingConfig(epochs=2, batch_size=16, learning_rate=0.01, **keys), 3, device=device)
    return model


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("name", TRAINED)
def test_a_seed_gives_the_same_numbers_again(name: str, precision: str, data: Split) -> None:
    first, second = (trained(name, data, "cuda", precision=precision).tensors() for _ in range(2))
    for key, tensor in first.items():
        assert torch.equal(tensor, second[key]), key


@pytest.mark.parametrize("name", TRAINED)
def test_the_same_weights_give_the_same_scores_and_ranks(name: str, data: Split, gpu: torch.device) -> None:
    model = trained(name, data, "cpu")
    events = data.test
    histories = Histories.of_events(data.dataset, events, 0, len(events))
    with torch.inference_mode():
        expected, by_processor = model.score(histories), evaluate(model, data, events)
        model.to(gpu)
        found, by_gpu = model.score(histories).cpu(), evaluate(model, data, events)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    assert np.mean(by_processor.ranks != by_gpu.ranks) < 0.02  # where two scores are closer than rounding


@pytest.mark.parametrize("name", TRAINED)
def test_it_learns_there_as_it_does_here(name: str, data: Split) -> None:
    """Draws differ, sizes of what is learnt do not."""
    here, there = (trained(name, data, device).tensors() for device in ("cpu", "cuda"))
    for key, tensor in here.items():
        if tensor.is_floating_point() and tensor.ndim > 1 and tensor.numel() > 256:
            assert float(there[key].std() / tensor.std().clamp(min=1e-6)) == pytest.approx(1.0, abs=0.25), key


def test_losses_and_gradients_are_those_of_the_processor(gpu: torch.device) -> None:
    generator = torch.Generator().manual_seed(1)
    hidden, items = torch.randn(500, 16, generator=generator), torch.randn(300, 16, generator=generator)
    targets = torch.randint(300, (500,), generator=generator)
    negatives = {"shared": torch.randint(300, (40,), generator=generator),
                 "own": torch.randint(300, (500, 40), generator=generator)}
    losses = [full_softmax, *(lambda h, i, t, n=n: sampled_softmax(h, i, t, n.to(h.device))
                              for n in negatives.values()),
              lambda h, i, t: binary_cross_entropy(h, i, t, negatives["own"].to(h.device), 0.3)]
    for loss in losses:
        results = []
        for device in (torch.device("cpu"), gpu):
            leaves = [tensor.to(device).requires_grad_() for tensor in (hidden, items)]
            value = loss(*leaves, targets.to(device))
            results.append([value.detach().cpu(), *(g.cpu() for g in torch.autograd.grad(value, leaves))])
        for mine, theirs in zip(*results, strict=True):
            torch.testing.assert_close(theirs, mine, rtol=1e-4, atol=1e-6)


def test_ranks_are_those_of_the_processor(gpu: torch.device) -> None:
    generator = torch.Generator().manual_seed(2)
    scores = torch.randint(40, (300, 90), generator=generator).float()  # many ties
    targets, excluded = torch.randint(90, (300,), generator=generator), torch.rand(300, 90, generator=generator) < 0.2
    found = ranks_of(scores.to(gpu), targets.to(gpu), excluded.to(gpu))
    assert found.is_cuda
    assert torch.equal(found.cpu(), ranks_of(scores, targets, excluded))
