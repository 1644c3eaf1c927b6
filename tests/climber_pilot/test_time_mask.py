import math

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cpbench.climber_pilot.time_mask import staircase, visible_counts

WINDOWS = st.sampled_from([0, 1, 2, 5, 100])
TIMES = st.lists(st.integers(0, 20), min_size=2, max_size=12).map(sorted)


def allowed_slowly(times: list[int], window: int) -> list[list[bool]]:
    """Row by row as the paper writes it (Eq. 1, Fig. 1); the last interaction is a target only."""
    length = len(times) - 1
    return [[j <= q and (window == 0 or not times[q + 1] - window <= times[j] <= times[q + 1])
             for j in range(length)] for q in range(length)]


def allowed(times: list[int], window: int) -> torch.Tensor:
    tau = torch.tensor([times])
    visible = visible_counts(tau[:, :-1], tau[:, 1:], window)
    return (torch.arange(len(times) - 1) < visible[0, :, None])


@settings(deadline=None)
@given(times=TIMES, window=WINDOWS)
def test_the_staircase_is_the_paper_s_mask(times: list[int], window: int) -> None:
    assert allowed(times, window).tolist() == allowed_slowly(times, window)


def test_the_example_drawn_in_figure_1() -> None:
    # bursts {4, 5} and {6, 7, 8}: row 4 masks key 4; row 5 nothing; row 6 key 6; row 7 keys 6 and 7
    times = [0, 100, 200, 300, 301, 400, 401, 402]
    mask = allowed(times, 10)
    hidden = {q + 1: [j + 1 for j in range(q + 1) if not mask[q, j]] for q in range(7)}
    assert hidden == {1: [], 2: [], 3: [], 4: [4], 5: [], 6: [6], 7: [6, 7]}


def test_window_zero_is_no_mask_even_for_ties() -> None:
    assert allowed([5, 5, 5, 5], 0).tolist() == torch.ones(3, 3).tril().bool().tolist()


@settings(deadline=None)
@given(times=TIMES, window=WINDOWS)
def test_the_additive_mask_hides_the_same_cells_and_blind_rows_stay_finite(times: list[int], window: int) -> None:
    tau = torch.tensor([times])
    visible = visible_counts(tau[:, :-1], tau[:, 1:], window)
    bias = staircase(visible, len(times) - 1)
    for q, row in enumerate(allowed_slowly(times, window)):
        if any(row):
            assert [math.isinf(x) for x in bias[0, 0, q].tolist()] == [not cell for cell in row]
        else:
            assert bias[0, 0, q].tolist() == [0.0] * len(row)
            assert visible[0, q] == 0
