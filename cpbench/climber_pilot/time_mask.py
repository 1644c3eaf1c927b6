"""The time-aware mask of TAMIP (Climber-Pilot, Eq. 1, read row by row as Fig. 1 draws it).

Row q predicts from what was known `window` seconds before its next interaction:

    allowed[q, j] = j <= q and tau_j < tau_{q+1} - window

Times are sorted, so the allowed keys of a row are a prefix: a staircase, and one integer a row says it all.
"""

import torch
from torch import Tensor


def visible_counts(times: Tensor, next_times: Tensor, window: int) -> Tensor:
    """How many keys each row may see: the first ``visible[b, q]`` of the sequence, int64 [B, L].

    times int64 [B, L], sorted along L; next_times int64 [B, L] is the time of each row's next interaction; `window`
    in seconds. 0 is no mask (plain causal: the paper equates it with MIP), not "mask ties" (design decision 3).
    """
    causal = torch.arange(1, times.shape[1] + 1, device=times.device).expand_as(times)
    if window == 0:
        return causal
    return torch.minimum(torch.searchsorted(times.contiguous(), (next_times - window).contiguous()), causal)


def staircase(visible: Tensor, n_keys: int) -> Tensor:
    """The additive mask of `visible` [B, L]: 0 where key j < visible[b, q], else -inf, float32 [B, 1, L, n_keys].

    Blind rows (visible 0) stay finite, for softmax's sake: attention sets their output to zero instead.
    """
    key = torch.arange(n_keys, device=visible.device)
    hidden = (key >= visible[:, None, :, None]) & (visible > 0)[:, None, :, None]
    return torch.zeros(hidden.shape, device=visible.device).masked_fill_(hidden, -torch.inf)


def blind_rows(visible: Tensor) -> Tensor | None:
    """Which rows see nothing, bool [B, L]; None where there is none, which spares attention the work."""
    blind = visible == 0
    return blind if bool(blind.any()) else None


def take_rows(table: Tensor, rows: Tensor) -> Tensor:
    """The rows [B, Q] of [B, L, D] or of [B, H, L, L]: [B, Q, D] or [B, H, Q, L]."""
    if table.dim() == 3:
        return table.gather(1, rows[:, :, None].expand(-1, -1, table.shape[2]))
    return table.gather(2, rows[:, None, :, None].expand(-1, table.shape[1], -1, table.shape[3]))
