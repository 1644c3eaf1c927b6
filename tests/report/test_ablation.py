import json

import numpy as np
import pytest

from cpbench.report.ablation import Difference, Measured, ablation_rows, as_document, as_markdown
from cpbench.report.ablation_figure import DRAWN, draw
from cpbench.report.grid import difference_cell
from cpbench.report.statistics import Sample, compare, holm

METRICS = ("HR@10", "HR@10/step 2")


def measured(label: str, seed: int, ranks: list[list[float]], lag: int = 0) -> Measured:
    table = np.array(ranks)
    first, second = (table <= 10).mean(axis=0)
    return Measured(label, lag, seed, {"HR@10": first, "HR@10/step 1": first, "HR@10/step 2": second}, table)


BASE = [measured("NIP", 1, [[1, 20], [20, 20], [20, 20], [20, 20]]),
        measured("NIP", 2, [[1, 20], [20, 20], [20, 20], [20, 20]])]
BETTER = [measured("TAMIP", 1, [[1, 1], [2, 20], [20, 20], [20, 20]]),
          measured("TAMIP", 2, [[1, 1], [2, 1], [3, 20], [20, 20]])]


def values(runs: list[Measured], column: int) -> Sample:
    return Sample(np.stack([(run.ranks[:, column] <= 10).astype(float) for run in runs]))


def test_differences_are_tested_as_in_every_table_and_corrected_together():
    base, better = ablation_rows([*BASE, *reversed(BETTER)], METRICS, "NIP")
    assert base.differences == {} and base.metrics["HR@10"].mean == 0.25
    expected = [compare(values(BETTER, column), values(BASE, column)) for column in (0, 1)]
    for difference, own, p in zip((better.differences[name] for name in METRICS), expected,
                                  holm([each.p_value for each in expected]), strict=True):
        assert difference.mean == pytest.approx(own.mean) and difference.interval == pytest.approx(own.interval)
        assert difference.p_value == pytest.approx(p)
    assert better.differences["HR@10"].mean == pytest.approx(np.mean([0.25, 0.5]))
    assert better.differences["HR@10"].p_value > expected[0].p_value


def test_what_no_table_shows_is_not_part_of_the_family():
    _, better = ablation_rows([*BASE, *BETTER], METRICS, "NIP", METRICS[:1])
    assert set(better.metrics) == set(METRICS) and set(better.differences) == {"HR@10"}
    assert better.differences["HR@10"].p_value == pytest.approx(compare(values(BETTER, 0), values(BASE, 0)).p_value)


def test_a_spread_over_seeds_that_users_do_not_show_widens_the_interval():
    rng = np.random.default_rng(0)
    def runs(label, rates):
        return [Measured(label, 0, seed, {"HR@10": rate}, np.where(rng.random((4000, 1)) < rate, 1.0, 99.0))
                for seed, rate in enumerate(rates)]
    _, steady = ablation_rows([*runs("a", [0.5] * 3), *runs("b", [0.55] * 3)], ("HR@10",), "a")
    _, shaky = ablation_rows([*runs("a", [0.4, 0.5, 0.6]), *runs("b", [0.45, 0.55, 0.65])], ("HR@10",), "a")
    assert steady.differences["HR@10"].p_value < 0.01 < 0.2 < shaky.differences["HR@10"].p_value


def test_p_is_written_as_in_every_other_table():
    certain = [measured(label, 1, [[rank, rank]] * 40) for label, rank in (("a", 99.0), ("b", 1.0))]
    certain[1] = measured("b", 1, [[1.0, 1.0]] * 30 + [[99.0, 99.0]] * 10)
    compared = compare(values(certain[1:], 0), values(certain[:1], 0))
    assert "p < 0.001" in difference_cell(compared).details[1]
    assert "p < 0.001" in as_markdown(ablation_rows(certain, METRICS[:1], "a"), METRICS[:1], "a", {})


def test_growth_is_tested_user_by_user():
    name = "HR@10/step 2 - step 1"
    base, better = ablation_rows([*BASE, *BETTER], (*METRICS, name), "NIP", (name,))
    assert base.metrics[name].mean == -0.25
    one, other = (Sample(values(runs, 1).values - values(runs, 0).values) for runs in (BETTER, BASE))
    expected = compare(one, other)
    assert better.differences == {name: Difference(expected.mean, expected.interval, expected.p_value)}


def test_seeds_that_only_one_of_them_has_count_too():
    _, better = ablation_rows([BASE[0], *BETTER], METRICS, "NIP")
    assert better.differences["HR@10"].mean == pytest.approx(np.mean([0.5, 0.75]) - 0.25)
    assert better.seeds == [1, 2]


def test_lags_are_compared_within_themselves():
    lagged = [measured("NIP", 1, [[20, 20]] * 4, lag=900), measured("TAMIP", 1, [[1, 20]] * 4, lag=900)]
    rows = ablation_rows([*BASE, *BETTER, *lagged], METRICS, "NIP")
    assert [(row.lag, row.label) for row in rows] == [(0, "NIP"), (0, "TAMIP"), (900, "NIP"), (900, "TAMIP")]
    assert rows[3].differences["HR@10"].mean == 1.0


def test_without_ranks_there_is_no_interval_and_without_the_reference_no_difference():
    plain = [Measured("a", 0, 1, {"HR@10": 0.5}), Measured("b", 0, 1, {"HR@10": 0.75, "CC@10": 1.0})]
    first, second = ablation_rows(plain, ("HR@10", "CC@10"), "a")
    assert second.differences["HR@10"] == Difference(0.25)
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
    assert "single runs: intervals and p know users only" in single


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
