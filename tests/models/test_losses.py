import math
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from cpbench.models import losses
from cpbench.models.losses import (
    binary_cross_entropy,
    full_softmax,
    gbce_calibration,
    sampled_softmax,
    uniform_negatives,
)


def make(t: int = 37, n: int = 23, d: int = 5) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    hidden = torch.randn(t, d, generator=generator, requires_grad=True)
    items = torch.randn(n, d, generator=generator, requires_grad=True)
    return hidden, items, torch.randint(n, (t,), generator=generator)


def gradients(loss: torch.Tensor, *of: torch.Tensor) -> list[torch.Tensor]:
    return list(torch.autograd.grad(loss, of))


@pytest.mark.parametrize("elements", [1, 23 * 64, 10**6])
def test_full_softmax_equals_plain_cross_entropy_and_its_gradients(monkeypatch: pytest.MonkeyPatch,
                                                                   elements: int) -> None:
    monkeypatch.setattr(losses, "CHUNK_ELEMENTS", elements)
    hidden, items, targets = make(t=200)
    fast = full_softmax(hidden, items, targets) * 3.0
    plain = F.cross_entropy(hidden @ items.T, targets) * 3.0
    torch.testing.assert_close(fast, plain)
    for mine, theirs in zip(gradients(fast, hidden, items), gradients(plain, hidden, items), strict=True):
        torch.testing.assert_close(mine, theirs)


def test_full_softmax_never_holds_the_whole_logits_matrix(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(losses, "CHUNK_ELEMENTS", 64 * 23)
    hidden, items, targets = make(t=1000)
    largest = 0
    softmax = torch.softmax

    def watched(logits: torch.Tensor, dim: int) -> torch.Tensor:
        nonlocal largest
        largest = max(largest, logits.numel())
        return softmax(logits, dim)

    monkeypatch.setattr(torch, "softmax", watched)
    full_softmax(hidden, items, targets).backward()
    assert largest == 64 * 23


def test_full_softmax_stays_finite_where_the_target_is_hopeless() -> None:
    items = torch.tensor([[1000.0], [-1000.0]], requires_grad=True)
    loss = full_softmax(torch.ones(1, 1), items, torch.tensor([1]))
    loss.backward()
    assert math.isfinite(loss.item())
    assert items.grad is not None
    torch.testing.assert_close(items.grad, torch.tensor([[1.0], [-1.0]]))


def test_full_softmax_in_bfloat16_is_close() -> None:
    hidden, items, targets = make(t=200)
    with torch.autocast("cpu", torch.bfloat16):
        low = full_softmax(hidden, items, targets)
    assert abs(low.item() - full_softmax(hidden, items, targets).item()) < 0.02
    assert all(torch.isfinite(g).all() for g in gradients(low, hidden, items))


@pytest.mark.parametrize("corrected", [False, True])
def test_sampled_softmax_equals_a_loop(corrected: bool) -> None:
    hidden, items, targets = make()
    negatives = torch.tensor([0, 4, 4, 11, int(targets[0])])
    log_expected = torch.randn(23, generator=torch.Generator().manual_seed(5)) if corrected else None
    total = hidden.new_zeros(())
    for row, target in enumerate(targets.tolist()):
        positive = hidden[row] @ items[target]
        logits = [positive]
        for negative in negatives.tolist():
            if negative != target:  # an accidental hit is no negative
                shift = log_expected[negative] if log_expected is not None else 0.0
                logits.append(hidden[row] @ items[negative] - shift)
        total = total + torch.logsumexp(torch.stack(logits), 0) - positive
    plain = total / len(targets)
    fast = sampled_softmax(hidden, items, targets, negatives, log_expected)
    torch.testing.assert_close(fast, plain)
    for mine, theirs in zip(gradients(fast, hidden, items), gradients(plain, hidden, items), strict=True):
        torch.testing.assert_close(mine, theirs)


@pytest.mark.parametrize(("elements", "n"), [(1, 5), (10**6, 5), (10**6, 23)])  # 5 items: fewer than are drawn
def test_sampled_softmax_with_negatives_of_each_target_equals_a_loop(monkeypatch: pytest.MonkeyPatch,
                                                                     elements: int, n: int) -> None:
    monkeypatch.setattr(losses, "CHUNK_ELEMENTS", elements)
    hidden, items, targets = make(t=150, n=n)
    negatives = torch.randint(n, (150, 6), generator=torch.Generator().manual_seed(1))
    assert (negatives == targets[:, None]).any()  # accidental hits, and items drawn twice
    assert (negatives[:, :1] == negatives[:, 1:]).any()
    total = hidden.new_zeros(())
    for row, target in enumerate(targets.tolist()):
        positive = hidden[row] @ items[target]
        logits = [positive, *(hidden[row] @ items[other] for other in negatives[row].tolist() if other != target)]
        total = total + torch.logsumexp(torch.stack(logits), 0) - positive
    plain = total / len(targets)
    fast = sampled_softmax(hidden, items, targets, negatives)
    torch.testing.assert_close(fast, plain)
    for mine, theirs in zip(gradients(fast, hidden, items), gradients(plain, hidden, items), strict=True):
        torch.testing.assert_close(mine, theirs)


@pytest.mark.parametrize("beta", [1.0, 0.3])
@pytest.mark.parametrize(("elements", "count"), [(1, 40), (10**6, 40), (10**6, 1)])
def test_binary_cross_entropy_equals_a_loop(monkeypatch: pytest.MonkeyPatch, elements: int, count: int,
                                            beta: float) -> None:
    monkeypatch.setattr(losses, "CHUNK_ELEMENTS", elements)
    hidden, items, targets = make()
    negatives = torch.randint(23, (37, count), generator=torch.Generator().manual_seed(1))
    total = hidden.new_zeros(())
    for row, target in enumerate(targets.tolist()):
        total = total - torch.log(torch.sigmoid(hidden[row] @ items[target]) ** beta)
        for negative in negatives[row].tolist():
            total = total - torch.log(1 - torch.sigmoid(hidden[row] @ items[negative]))
    plain = total / len(targets)
    fast = binary_cross_entropy(hidden, items, targets, negatives, beta)
    torch.testing.assert_close(fast, plain, rtol=1e-4, atol=1e-5)
    for mine, theirs in zip(gradients(fast, hidden, items), gradients(plain, hidden, items), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-5)


def test_binary_cross_entropy_stays_finite_where_it_is_quite_wrong() -> None:
    items = torch.tensor([[1000.0], [-1000.0]], requires_grad=True)
    loss = binary_cross_entropy(torch.ones(1, 1), items, torch.tensor([1]), torch.tensor([[0]]))
    assert loss.item() == 2000.0
    torch.testing.assert_close(gradients(loss, items)[0], torch.tensor([[1.0], [-1.0]]))


@pytest.mark.parametrize("n", [23, 90])
@pytest.mark.parametrize("loss", [sampled_softmax, binary_cross_entropy])
def test_vectors_of_own_negatives_are_never_all_held(monkeypatch: pytest.MonkeyPatch, loss: Callable, n: int) -> None:
    """No tensor of forward or backward grows with T x S x D, only with a chunk of it or with what goes in."""
    class Largest(TorchDispatchMode):
        elements = 0

        def __torch_dispatch__(self, operation, types, given=(), named=None):  # type: ignore[no-untyped-def]
            made = operation(*given, **(named or {}))
            for tensor in made if isinstance(made, (tuple, list)) else [made]:
                if isinstance(tensor, torch.Tensor) and tensor.layout is torch.strided:
                    self.elements = max(self.elements, tensor.numel())
            return made

    monkeypatch.setattr(losses, "CHUNK_ELEMENTS", 16 * 40 * 5)
    hidden, items, targets = make(t=400, n=n)
    negatives = torch.randint(n, (400, 40), generator=torch.Generator().manual_seed(1))
    with Largest() as largest:
        loss(hidden, items, targets, negatives).backward()
    assert 400 * 40 <= largest.elements <= 400 * 41


def test_calibration_of_gbce() -> None:
    # alpha = 256 / 3415; t = 0 is plain, t = 1 raises the positive's sigmoid to alpha
    assert gbce_calibration(256, 3416, 0.0) == pytest.approx(1.0)
    assert gbce_calibration(256, 3416, 1.0) == pytest.approx(256 / 3415)
    assert gbce_calibration(256, 3416, 0.75) == pytest.approx(256 / 3415 * (0.75 * (1 - 3415 / 256) + 3415 / 256))


def test_uniform_negatives_cover_the_catalogue() -> None:
    drawn = uniform_negatives((5000,), 7, torch.device("cpu"))
    assert sorted(set(drawn.tolist())) == list(range(7))
