import json

import numpy as np
import pytest
from scipy import stats

from cpbench.report.ablation import Measured, ablation_rows, as_document, as_markdown
from cpbench.report.ablation_figure import DRAWN, draw

METRICS = ("HR@10", "HR@10/step 2")


def measured(label: str, seed: int, ranks: list[list[float]], lag: int = 0) -> Measured:
    table = np.array(ranks)
    return Measured(label, lag, seed, {"HR@10": float((table[:, 0] <= 10).mean()),
                                       "HR@10/step 2": float((table[:, 1] <= 10).mean())}, table)


BASE = [measured("NIP", 1, [[1, 20], [20, 20], [20, 20], [20, 20]]),
        measured("NIP", 2, [[1, 20], [20, 20], [20, 20], [20, 20]])]
BETTER = [measured("TAMIP", 1, [[1, 1], [2, 20], [20, 20], [20, 20]]),
          measured("TAMIP", 2, [[1, 1], [2, 1], [3, 20], [20, 20]])]


def test_differences_are_paired_by_seed_and_by_user():
    base, better = ablation_rows([*BASE, *reversed(BETTER)], METRICS, "NIP")
    assert base.differences == {} and base.metrics["HR@10"].mean == 0.25
    first = better.differences["HR@10"]
    assert first.mean == pytest.approx(np.mean([0.25, 0.5]))
    per_user = np.array([0.0, 1.0, 0.5, 0.0])  # seeds averaged
    expected = stats.ttest_1samp(per_user, 0.0).confidence_interval(0.95)
    assert first.interval == pytest.approx((expected.low, expected.high))
    assert first.p_value == pytest.approx(stats.ttest_rel([0.5, 0.75], [0.25, 0.25]).pvalue)
    assert better.differences["HR@10/step 2"].mean == pytest.approx(0.375)


def test_a_seed_that_only_one_of_them_has_does_not_count():
    _, better = ablation_rows([BASE[0], *BETTER], METRICS, "NIP")
    assert better.differences["HR@10"].mean == pytest.approx(0.25)
    assert better.differences["HR@10"].p_value is None
    assert better.seeds == [1, 2]


def test_lags_are_compared_within_themselves():
    lagged = [measured("NIP", 1, [[20, 20]] * 4, lag=900), measured("TAMIP", 1, [[1, 20]] * 4, lag=900)]
    rows = ablation_rows([*BASE, *BETTER, *lagged], METRICS, "NIP")
    assert [(row.lag, row.label) for row in rows] == [(0, "NIP"), (0, "TAMIP"), (900, "NIP"), (900, "TAMIP")]
    assert rows[3].differences["HR@10"].mean == 1.0


def test_without_ranks_there_is_no_interval_and_without_the_reference_no_difference():
    plain = [Measured("a", 0, 1, {"HR@10": 0.5}), Measured("b", 0, 1, {"HR@10": 0.75, "CC@10": 1.0})]
    first, second = ablation_rows(plain, ("HR@10", "CC@10"), "a")
    assert second.differences["HR@10"].interval is None and second.differences["HR@10"].mean == 0.25
    assert "CC@10" not in first.metrics
    assert ablation_rows(plain, ("HR@10",), "c")[1].differences == {}


def test_identical_seeds_give_a_p_value_and_not_a_number_that_is_none():
    rows = ablation_rows([*BASE, *(measured("copy", run.seed, run.ranks.tolist()) for run in BASE)], METRICS, "NIP")
    assert rows[1].differences["HR@10"].mean == 0.0
    assert rows[1].differences["HR@10"].p_value == 1.0
    json.dumps(as_document(rows), allow_nan=False)


def test_markdown_holds_every_row_the_paper_and_what_it_rests_on():
    rows = ablation_rows([*BASE, *BETTER], METRICS, "NIP")
    text = as_markdown(rows, METRICS, "NIP", {"NIP": {"HR@10": 0.038}})
    assert "| NIP | 0.2500 ± 0.0000 | 0.0000 ± 0.0000 |" in text
    assert "+0.3750 [" in text and " p 0." in text
    assert "| *paper: NIP* | *0.0380* |  |" in text
    assert "2 seeds, mean ± standard deviation" in text
    single = as_markdown(ablation_rows([BASE[0]], METRICS, "NIP"), METRICS, "NIP", {})
    assert "single runs: small differences mean nothing" in single


@pytest.mark.parametrize("name", sorted(DRAWN))
def test_every_ablation_has_a_figure_and_the_same_rows_give_the_same_file(name, tmp_path):
    metrics = {"HR@10/step 1": 0.2, "HR@10/step 2": 0.1, "HR@10": 0.2, "HR@20": 0.3, "HR@50": 0.4, "CC@10": 0.5,
               "diversity@10/low": 0.1, "diversity@10/middle": 0.2, "diversity@10/high": 0.3}
    runs = [Measured(label, lag, seed, metrics) for lag in (0, 900) for label in ("0 s", "15 min") for seed in (1, 2)]
    rows = ablation_rows(runs, tuple(metrics), "0 s")
    gaps = np.array([0.0, 60.0, 4000.0])
    first = [path.read_bytes() for path in draw(name, "a $title$", rows, tmp_path / "a", gaps)]
    second = [path.read_bytes() for path in draw(name, "a $title$", rows, tmp_path / "b", gaps)]
    assert first == second and first[0].startswith(b"\x89PNG") and b"<svg" in first[1]
