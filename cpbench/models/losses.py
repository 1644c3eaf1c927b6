"""Losses over a catalogue: none of them ever holds the whole logits matrix of a batch, or its negatives' vectors.

T is the number of (position, target) pairs of a batch, N items, S shared negatives, D width.
"""

import math
import warnings
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

CHUNK_ELEMENTS = 1 << 20  # logits held at once; larger chunks leave the processor's cache
GPU_CHUNK_ELEMENTS = 1 << 26  # there a chunk costs a dozen kernel launches and no cache is lost (docs/speed.md)


def _rows_at_once(columns: int, device: torch.device, least: int) -> int:
    """How many rows of logits over `columns` items are held at once."""
    elements = CHUNK_ELEMENTS if device.type == "cpu" else GPU_CHUNK_ELEMENTS
    return max(least, elements // max(columns, 1))


class _Mean(torch.autograd.Function):
    """A mean over `count` targets, whose forward saves the gradients of the sum by its first inputs."""

    @staticmethod
    def backward(ctx, gradient: Tensor):  # type: ignore[no-untyped-def]
        scale = gradient / ctx.count
        found = [grad * scale.to(grad.dtype) for grad in ctx.saved_tensors]
        return *found, *[None] * (len(ctx.needs_input_grad) - len(found))


class _FullSoftmax(_Mean):
    """Mean cross-entropy of ``hidden @ items.T``, chunked over rows.

    Forward computes the gradients too, while a chunk of probabilities is still at hand: three matrix products in
    all, nothing recomputed, and T x N never materialised.
    """

    @staticmethod
    def forward(ctx, hidden: Tensor, items: Tensor, targets: Tensor) -> Tensor:  # type: ignore[no-untyped-def]
        rows = _rows_at_once(items.shape[0], hidden.device, 64)
        wants_grad = hidden.requires_grad or items.requires_grad
        grad_hidden = torch.empty_like(hidden) if wants_grad else None
        grad_items = torch.zeros_like(items, dtype=torch.float32) if wants_grad else None
        total = torch.zeros((), dtype=torch.float32, device=hidden.device)
        for first in range(0, len(hidden), rows):
            chunk, answer = hidden[first:first + rows], targets[first:first + rows, None]
            slope = torch.softmax(chunk @ items.T, 1)
            # the floor (a loss of 87) concerns the reported value only: gradients come from the probabilities
            total -= slope.gather(1, answer).float().clamp(min=torch.finfo(torch.float32).tiny).log().sum()
            if grad_hidden is not None and grad_items is not None:
                slope[torch.arange(len(chunk), device=slope.device), answer[:, 0]] -= 1  # scatter_add_: 16 times slower
                torch.matmul(slope, items, out=grad_hidden[first:first + rows])
                grad_items += slope.T @ chunk
        if wants_grad:
            ctx.save_for_backward(grad_hidden, grad_items.to(items.dtype))  # type: ignore[union-attr]
            ctx.count = len(hidden)
        return total / max(len(hidden), 1)


def full_softmax(hidden: Tensor, items: Tensor, targets: Tensor) -> Tensor:
    """Mean cross-entropy against the whole catalogue. hidden [T, D], items [N, D], targets int64 [T]."""
    hidden, items = _lowered(hidden, items)
    with torch.autocast(hidden.device.type, enabled=False):
        loss: Tensor = _FullSoftmax.apply(hidden, items, targets)
    return loss


def uniform_negatives(size: tuple[int, ...], n_items: int, device: torch.device) -> Tensor:
    """Item ids drawn uniformly with replacement, int64 [size]: (S,) shared by a batch, or (T, S), S for each target."""
    return torch.randint(n_items, size, device=device)


class _SampledSoftmax(_Mean):
    """Mean cross-entropy of targets' vectors against shared negatives' vectors, chunked over rows like the full one."""

    @staticmethod
    def forward(ctx, hidden: Tensor, positives: Tensor, negatives: Tensor, shift: Tensor | None,  # type: ignore[no-untyped-def]
                hits: tuple[Tensor, Tensor]) -> Tensor:
        rows = _rows_at_once(len(negatives), hidden.device, 64)
        target_logits = (hidden * positives).sum(1).float()
        grad_hidden = torch.empty_like(hidden)
        grad_negatives = torch.zeros_like(negatives, dtype=torch.float32)
        missing = torch.empty_like(target_logits)  # 1 - probability of the target
        total = torch.zeros((), dtype=torch.float32, device=hidden.device)
        for first in range(0, len(hidden), rows):
            chunk, own = hidden[first:first + rows], target_logits[first:first + rows]
            logits = (chunk @ negatives.T).float()
            if shift is not None:
                logits -= shift
            logits.masked_fill_(hits[0][first:first + rows, None] == hits[1], -torch.inf)
            normaliser = torch.logaddexp(torch.logsumexp(logits, 1), own)
            total += (normaliser - own).sum()
            missing[first:first + rows] = -torch.expm1(own - normaliser)
            slope = logits.sub_(normaliser[:, None]).exp_().to(hidden.dtype)
            torch.matmul(slope, negatives, out=grad_hidden[first:first + rows])
            grad_negatives += slope.T @ chunk
        weight = missing[:, None].to(hidden.dtype)
        grad_hidden -= weight * positives
        ctx.save_for_backward(grad_hidden, -weight * hidden, grad_negatives.to(negatives.dtype))
        ctx.count = len(hidden)
        return total / max(len(hidden), 1)


Criterion = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""From the logits float32 [C, 1 + S] of some targets, each first in its row, and the item ids int64 of the same shape:
their summed loss, and its slope by logit."""


class _OwnNegatives(_Mean):
    """Mean of a criterion of each target and negatives of its own, T x S x D never held.

    The slope by logit is a sparse matrix [T, N] with 1 + S entries a row: one gradient is its product with the items'
    vectors, the other its transpose's with the queries.
    """

    @staticmethod
    def forward(ctx, hidden: Tensor, items: Tensor, targets: Tensor, negatives: Tensor, criterion: Criterion) -> Tensor:  # type: ignore[no-untyped-def]
        drawn = torch.cat([targets[:, None], negatives], 1)
        total, slope = criterion(_pair_logits(hidden, items, drawn), drawn)
        slope = slope.to(hidden.dtype)
        grad_hidden = F.embedding_bag(drawn, items, mode="sum", per_sample_weights=slope)
        item, order = drawn.flatten().int().sort()
        first = torch.searchsorted(item, torch.arange(len(items), dtype=torch.int32, device=item.device))
        grad_items = F.embedding_bag(order // drawn.shape[1], hidden, first, mode="sum",
                                     per_sample_weights=slope.flatten()[order])
        ctx.save_for_backward(grad_hidden, grad_items)
        ctx.count = len(hidden)
        return total / max(len(hidden), 1)


def _pair_logits(hidden: Tensor, items: Tensor, drawn: Tensor) -> Tensor:
    """``hidden[t] . items[drawn[t, s]]`` of hidden [T, D], items [N, D] and drawn int64 [T, S]: float32 [T, S]."""
    if hidden.device.type == "cpu" and drawn.shape[1] <= len(items):  # torch cuts a matrix's entries to its T x N cells
        starts = torch.arange(0, drawn.numel() + 1, drawn.shape[1])
        with warnings.catch_warnings(action="ignore"):  # sparse matrices by row are "in beta state"
            pairs = torch.sparse_csr_tensor(starts, drawn.flatten(), torch.zeros(drawn.numel()),
                                            (len(hidden), len(items)), check_invariants=False)
        return torch.sparse.sampled_addmm(pairs, hidden.float(), items.float().T, beta=0).values().view_as(drawn)
    rows = _rows_at_once(drawn.shape[1] * items.shape[1], hidden.device, 16)
    return torch.cat([(items[ids] @ chunk[:, :, None])[..., 0].float()
                      for ids, chunk in zip(drawn.split(rows), hidden.split(rows), strict=True)])


def _cross_entropy(logits: Tensor, drawn: Tensor) -> tuple[Tensor, Tensor]:
    """The criterion of a softmax; a negative that is its row's target is removed."""
    logits[:, 1:].masked_fill_(drawn[:, 1:] == drawn[:, :1], -torch.inf)
    normaliser = torch.logsumexp(logits, 1)
    loss = (normaliser - logits[:, 0]).sum()
    slope = logits.sub_(normaliser[:, None]).exp_()
    slope[:, 0] -= 1
    return loss, slope


def sampled_softmax(hidden: Tensor, items: Tensor, targets: Tensor, negatives: Tensor,
                    log_expected: Tensor | None = None) -> Tensor:
    """Mean cross-entropy of each target against sampled negatives (Climber-Pilot, L^(k); logQ: Bengio & Senecal 2008).

    hidden [T, D], items [N, D], targets int64 [T]. Negatives int64 [S] are shared by all targets; int64 [T, S] belong
    to one target each, are uniform draws (no logQ) and cost more (docs/hstu.md). log_expected [N] is the
    log of each item's expected count among the negatives, subtracted from their logits but not from the target's, which
    is no draw. None subtracts nothing: for uniform draws the usual softmax over what was drawn, but not what the
    constant log(S / N) would give, with which every negative stands for N / S items beside the one target.
    A negative that equals the row's target is removed from that row.
    """
    hidden, items = _lowered(hidden, items)
    if negatives.ndim == 2:
        assert log_expected is None, "negatives of each target are drawn uniformly: there is no logQ"
        with torch.autocast(hidden.device.type, enabled=False):
            own: Tensor = _OwnNegatives.apply(hidden, items, targets, negatives, _cross_entropy)
        return own
    shift = None if log_expected is None else log_expected[negatives]
    with torch.autocast(hidden.device.type, enabled=False):
        loss: Tensor = _SampledSoftmax.apply(hidden, items[targets], items[negatives], shift, (targets, negatives))
    return loss


def _lowered(*tensors: Tensor) -> tuple[Tensor, ...]:
    """The tensors in autocast's type, where autocast is on; inside our functions it is off: on a GPU it would turn
    single operations back to float32."""
    kind = tensors[0].device.type
    if not torch.is_autocast_enabled(kind):
        return tensors
    return tuple(tensor.to(torch.get_autocast_dtype(kind)) for tensor in tensors)


def binary_cross_entropy(hidden: Tensor, items: Tensor, targets: Tensor, negatives: Tensor,
                         calibration: float = 1.0) -> Tensor:
    """SASRec's loss: log sigmoid of the target plus log sigmoid of minus each negative, summed over negatives.

    hidden [T, D], items [N, D], targets int64 [T], negatives int64 [T, S] (drawn per position).
    `calibration` beta < 1 is gBCE: the positive's sigmoid is raised to beta (gSASRec, Eq. 13).
    """
    def criterion(logits: Tensor, drawn: Tensor) -> tuple[Tensor, Tensor]:
        loss = F.softplus(logits[:, 1:]).sum() - calibration * F.logsigmoid(logits[:, 0]).sum()
        slope = torch.sigmoid(logits)
        slope[:, 0] = -calibration * torch.sigmoid(-logits[:, 0])
        return loss, slope

    hidden, items = _lowered(hidden, items)
    with torch.autocast(hidden.device.type, enabled=False):
        loss: Tensor = _OwnNegatives.apply(hidden, items, targets, negatives, criterion)
    return loss


def gbce_calibration(sampled: int, n_items: int, t: float) -> float:
    """beta = alpha * (t * (1 - 1 / alpha) + 1 / alpha), alpha = sampled / (N - 1) (gSASRec, Eq. 18).

    t = 0 leaves binary cross-entropy as it is; t = 1 calibrates fully.
    """
    alpha = min(sampled / max(n_items - 1, 1), 1.0)
    return alpha * (t * (1.0 - 1.0 / alpha) + 1.0 / alpha) if math.isfinite(alpha) and alpha > 0 else 1.0
