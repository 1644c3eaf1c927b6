import re

import pytest
from scipy import stats

from cpbench.data.protocol import Protocol
from cpbench.report.figures.critical_difference import cliques, critical_difference, draw, plot, ranking, why_not
from cpbench.report.tables import comparison_tables
from tests.report.figures.made import setting, texts, written
from tests.report.records import record, runs

SCORES = {"one": (0.9, 0.5, 0.1), "two": (0.9, 0.4, 0.2), "three": (0.8, 0.5, 0.5), "four": (0.3, 0.2, 0.1)}


def tables(scores=SCORES, models=("sasrec", "ease", "p$p")):
    records = [record(model, hr=hr, dataset=dataset) for dataset, own in scores.items()
               for model, hr in zip(models, own, strict=False)]
    return comparison_tables(runs(records))[0]


def test_the_difference_is_that_of_the_paper():
    # Demšar (2006), section 3.2.2: four classifiers, 14 data sets, q = 2.569
    assert critical_difference(4, 14) == pytest.approx(1.25, abs=0.005)
    # his table 5(a): q at .05 for 2 to 10 classifiers
    for k, q in zip(range(2, 11), (1.960, 2.343, 2.569, 2.728, 2.850, 2.949, 3.031, 3.102, 3.164), strict=True):
        assert critical_difference(k, 1) == pytest.approx(q * (k * (k + 1) / 6) ** 0.5, rel=1e-3)


def test_ranks_are_averaged_over_tables_and_ties_shared():
    found = ranking(tables())
    assert found.models == ["sasrec", "ease", "p$p"]
    assert found.average_ranks == pytest.approx([1.0, (2 + 2 + 2.5 + 2) / 4, (3 + 3 + 2.5 + 3) / 4])
    assert found.p_value == pytest.approx(stats.friedmanchisquare(*zip(*SCORES.values(), strict=True)).pvalue)
    assert found.difference == critical_difference(3, 4)


def test_only_tuned_rows_under_plain_protocols_count():
    extra = [record("ease", hr=0.99, dataset="five", protocol=Protocol(horizon=10)),
             *(record(model, hr=0.9, dataset="six", protocol=Protocol(condition="genre"))
               for model in ("sasrec", "ease", "p$p")),
             *(record(model, hr=0.99, dataset="one", recipe="paper") for model in ("ease", "p$p")),
             setting("width", 32, model="p$p", hr=0.99, dataset="one")]
    plain = [run.record for table in tables() for row in table.rows for run in row.runs]
    with_extra = ranking(comparison_tables(runs([*plain, *extra]))[0])
    assert with_extra[:2] == ranking(tables())[:2]


def test_a_table_of_few_models_does_not_take_the_others_away(tmp_path):
    models, few = ("sasrec", "ease", "p$p", "hstu"), ("sasrec", "ease", "p$p")
    scores = dict.fromkeys(("one", "two", "three", "four"), (0.9, 0.5, 0.1, 0.4))
    whole = [run.record for table in tables(scores, models) for row in table.rows for run in row.runs]
    more = comparison_tables(runs([*whole, *(record(model, hr=0.3, dataset="five") for model in few)]))[0]
    assert ranking(more)[:2] == (["sasrec", "ease", "hstu", "p$p"], [1.0, 2.0, 3.0, 4.0])  # 4 x 4 figures, not 3 x 5
    assert "over 4 tables" in draw(more, tmp_path).caption and "five" not in draw(more, tmp_path).caption
    equal = comparison_tables(runs([*whole, *(record(model, hr=0.3, dataset=dataset)
                                              for dataset in ("five", "six") for model in few)]))[0]
    assert len(ranking(equal).models) == 3 and len(ranking(equal).tables) == 6


@pytest.mark.parametrize(("made", "reason"), [
    ([], "at least 3 tables .* and there are 0"),
    (tables({"one": (0.9, 0.5, 0.1)}), "at least 3 tables .* and there is 1"),
    (tables(models=("sasrec", "ease")), "at least 3 tables"),
    (comparison_tables(runs([record(model, dataset=dataset) for dataset, models in
                             (("a", "xyz"), ("b", "xyw"), ("c", "xyv")) for model in models]))[0],
     "at least 3 models that are in all 3 tables, and there are 2"),
])
def test_too_little_is_a_reason_and_no_figure(made, reason, tmp_path):
    assert re.search(reason, why_not(made)) and draw(made, tmp_path) is None
    assert list(tmp_path.iterdir()) == []


def test_cliques_are_the_largest_groups_within_the_difference():
    assert cliques([1.0, 1.5, 2.2, 4.0], 1.25) == [(0, 2)]
    assert cliques([1.0, 2.0, 3.0, 4.0], 1.0) == [(0, 1), (1, 2), (2, 3)]
    assert cliques([1.0, 3.0, 5.0], 1.0) == [] and cliques([1.0, 2.0, 3.0], 9.0) == [(0, 2)]


def test_the_diagram_names_every_model_at_its_rank(tmp_path):
    found = ranking(tables())
    figure = plot(found)
    for model, rank in zip(found.models, found.average_ranks, strict=True):
        assert any(model in text and f"{rank:.2f}" in text for text in texts(figure))
        assert any(rank in line.get_xdata() for line in figure.axes[0].lines)
    assert f"critical difference {found.difference:.2f}" in texts(figure)
    drawn = draw(tables(), tmp_path)
    assert why_not(tables()) is None and "over 4 tables" in drawn.caption and "1 is best" in drawn.caption
    assert written(drawn) == written(draw(tables(), tmp_path / "again"))


def test_equal_models_are_not_told_apart(tmp_path, recwarn):
    same = tables(dict.fromkeys(("one", "two", "three"), (0.5, 0.5, 0.5)))
    assert ranking(same).p_value == 1.0 and not recwarn.list
    assert "does not tell the models apart" in draw(same, tmp_path).caption
