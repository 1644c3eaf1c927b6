"""Each figure shows the numbers of the records, under their names."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cpbench.data.protocol import Protocol
from cpbench.report.figures import conditioning, horizon, intervals, learning_curves, pareto, window
from cpbench.report.figures.all import draw_all
from cpbench.report.figures.bands import OVER_SEEDS, hit_intervals, reaches
from cpbench.report.figures.style import FAINT, colour
from cpbench.report.tables import Estimate
from tests.report.figures.made import run, setting, tables, texts, written
from tests.report.records import record

COUNTED = {**record().cost.model_dump(), "epochs": 0, "best_epoch": 0, "fit_seconds": 0.0003, "parameters": 0}


def points(axes) -> set[tuple[float, float]]:
    """All that is plotted, to nine digits."""
    return {(round(float(x), 9), round(float(y), 9)) for line in axes.lines for x, y in line.get_xydata()}


def at(x: float, y: float) -> tuple[float, float]:
    return round(x, 9), round(y, 9)


@pytest.fixture
def made(tmp_path):
    """Two learned models, one counting, two seeds."""
    return tables([
        *(run(tmp_path / "r", record("sasrec", seed), 3.0, {1: None, 2: 0.1 * seed, 4: 0.2, 6: 0.15})
          for seed in (1, 2)),
        run(tmp_path / "r", record("bs$rec_$", information=["times"]), 2.0, {2: 0.1, 4: 0.12}),
        run(tmp_path / "r", record("popularity", cost=COUNTED), 0.5)])[0]


def test_intervals_are_those_of_the_table(made, tmp_path):
    labels = [row.model for row in made.rows]
    figure = intervals.plot(made, made.rows, labels, "NDCG@10")
    for place, row in enumerate(made.rows):
        estimate = row.metrics["NDCG@10"]
        assert {at(estimate.mean, place), at(estimate.interval[0], place), at(estimate.interval[1], place)} <= points(
            figure.axes[0])
    shown = texts(figure)
    assert {"sasrec", "bs$rec_$", "popularity", "ids + times"} <= set(shown)
    assert any("†" in text for text in shown) and any(text.startswith("NDCG@10, 95 % interval") for text in shown)
    drawn = intervals.draw(made, tmp_path)
    assert written(drawn) == written(intervals.draw(made, tmp_path / "again"))
    assert drawn.name == "intervals-tiny-leave-one-out" and "bootstrap over seeds and users" in drawn.caption
    assert "■ is sasrec (tuned)" in drawn.caption


def test_the_last_digits_of_an_interval_change_no_file(made, tmp_path):
    def nudged(row):
        metrics = {name: replace(each, interval=each.interval and tuple(end + 1e-11 for end in each.interval))
                   for name, each in row.metrics.items()}
        return replace(row, metrics=metrics)

    other = replace(made, rows=[nudged(row) for row in made.rows])
    for figure in (intervals, pareto):
        assert written(figure.draw(made, tmp_path / "a")) == written(figure.draw(other, tmp_path / "b"))


def test_published_values_are_hollow(tmp_path):
    beauty = record("popularity", dataset="amazon-beauty", cost=COUNTED)
    (table,) = tables([run(tmp_path, beauty), run(tmp_path, record("x", dataset="amazon-beauty"), 2.0)])
    figure = intervals.plot(table, table.rows, ["x", "popularity"], "NDCG@10")
    hollow = [line for line in figure.axes[0].lines if line.get_markerfacecolor() == "none" and len(line.get_xdata())]
    assert {at(0.0053, 1), at(0.0068, 1)} == {at(*pair) for line in hollow for pair in line.get_xydata()}
    assert "Hollow: published elsewhere." in intervals.draw(table, tmp_path).caption


def test_without_ranks_there_is_a_point_and_no_bar(tmp_path):
    (table,) = tables([run(tmp_path, record("sasrec"), ranked=False)])
    axes = intervals.plot(table, table.rows, ["sasrec"], "NDCG@10").axes[0]
    assert points(axes) == {at(table.rows[0].mean("NDCG@10"), 0)}
    assert "Without a bar" in intervals.draw(table, tmp_path).caption


def test_learning_curves_are_the_means_and_the_chosen_epochs(made, tmp_path):
    rows = [row for row in made.rows if row.model != "popularity"]
    curves = [[(each, learning_curves.read_curve(each.folder)) for each in row.runs] for row in rows]
    figure = learning_curves.plot(made, curves, rows, ["sasrec", "bs$rec_$"])
    axes = figure.axes[0]
    assert {at(2, 0.15), at(4, 0.2), at(6, 0.15), at(2, 0.1), at(4, 0.12)} <= points(axes)
    rings = [line for line in axes.lines if line.get_marker() == "o"]
    assert sorted(at(*line.get_xydata()[0]) for line in rings) == [at(2, 0.1), at(2, 0.1), at(2, 0.2)]
    band = axes.collections[0].get_paths()[0].vertices
    assert band[:, 1].max() == pytest.approx(0.15 + np.std([0.1, 0.2], ddof=1))
    assert {"sasrec", "bs$rec_$"} <= set(texts(figure))
    drawn = learning_curves.draw(made, tmp_path)
    assert written(drawn) == written(learning_curves.draw(made, tmp_path / "again"))


def test_a_damaged_curve_is_no_curve(tmp_path):
    made = run(tmp_path, record("sasrec"), curve={1: 0.1, 2: 0.2})
    assert learning_curves.read_curve(made.folder) == {1: 0.1, 2: 0.2}
    for text in ("{", "[1]", '[{"epoch": 1}]', '[{"epoch": 1, "valid": {"NDCG@10": NaN}}]', "null"):
        (made.folder / "curve.json").write_text(text)
        assert learning_curves.read_curve(made.folder) == {}
    assert learning_curves.draw(tables([made])[0], tmp_path) is None


def test_seeds_that_stop_early_do_not_bend_the_mean(tmp_path):
    short = run(tmp_path, record(seed=1), curve={2: 0.1, 4: 0.2})
    long = run(tmp_path, record(seed=2), curve={2: 0.1, 4: 0.2, 6: 0.9})
    (table,) = tables([short, long])
    curves = [[(each, learning_curves.read_curve(each.folder)) for each in table.rows[0].runs]]
    axes = learning_curves.plot(table, curves, table.rows, ["sasrec"]).axes[0]
    mean, beyond = [line for line in axes.lines if len(line.get_xdata()) > 1]
    assert mean.get_xdata().tolist() == [2, 4] and list(beyond.get_xdata()) == [4, 6]


def horizons(folder, lags=(0, 900), ranked=True):
    return tables([run(folder, setting("mode", mode, seed=seed, protocol=Protocol(horizon=3, serving_lag=lag)),
                       quality, steps=3, ranked=ranked)
                   for lag in lags for mode, quality in (("nip", 1.0), ("mip", 2.0)) for seed in (1, 2)])


def test_horizon_has_a_panel_a_lag_and_every_step(tmp_path):
    both = horizons(tmp_path / "r")
    figure, kind = horizon.plot(both, {row.label: row.recipe for row in both[0].rows})
    assert kind == "95 % bootstrap over seeds and users" and [axes.get_title() for axes in figure.axes] == [
        "usual protocol", "serving lag 900 s"]
    for axes, table in zip(figure.axes, both, strict=True):
        assert points(axes) == {at(step, row.mean(f"HR@10/step {step}")) for row in table.rows for step in (1, 2, 3)}
    drawn = horizon.draw(both, tmp_path)
    assert drawn.name == "horizon-tiny-leave-one-out-horizon-3" and f"Band: {kind}." in drawn.caption
    assert "All rows: sasrec, tuned." in drawn.caption
    assert written(drawn) == written(horizon.draw(list(reversed(both)), tmp_path / "again"))


def test_without_ranks_the_band_is_the_spread_and_the_caption_says_so(tmp_path):
    (table,) = horizons(tmp_path / "r", lags=(0,), ranked=False)
    found, kind = hit_intervals(table.rows, {"HR@10/step 2": ("rank 2", 10)})
    estimate = table.rows[0].metrics["HR@10/step 2"]
    assert kind == OVER_SEEDS
    assert found[0]["HR@10/step 2"] == (estimate.mean - estimate.spread, estimate.mean + estimate.spread)
    assert OVER_SEEDS in horizon.draw([table], tmp_path).caption


def test_the_bootstrap_holds_the_mean(tmp_path):
    (table,) = horizons(tmp_path / "r", lags=(0,))
    found, _ = hit_intervals(table.rows, {f"HR@10/step {step}": (f"rank {step}", 10) for step in (2, 3)})
    for row, own in zip(table.rows, found, strict=True):
        for name, (low, high) in own.items():
            assert low < row.mean(name) < high


def test_window_overlooks_a_setting_learned_between_its_runs(tmp_path):
    older, newer = setting("window", 0), setting("window", 60)
    newer = newer.model_copy(update={"config": {**newer.config, "new": False},
                                     "config_sources": {**newer.config_sources, "new": "default"}})
    (table,) = tables([run(tmp_path / "r", older), run(tmp_path / "r", newer)])
    assert [row.runs[0].record.config["window"] for row in window.varied(table.rows)] == [0, 60]


def test_window_draws_the_rows_that_differ_in_nothing_else(tmp_path):
    records = [setting("window", window) for window in (900, 0, 60)]
    other = record(config={"width": 32, "window": 60}, config_sources={"width": "--set", "window": "default"})
    (table,) = tables([run(tmp_path / "r", made, 1 + place) for place, made in enumerate([*records, other])])
    rows = window.varied(table.rows)
    assert [row.runs[0].record.config["window"] for row in rows] == [0, 60, 900]
    figure, _ = window.plot(table, rows)
    assert points(figure.axes[0]) == {at(place, row.mean(f"HR@{k}")) for place, row in enumerate(rows)
                                      for k in (10, 20, 50)}
    assert {"0 s", "1 min", "15 min", "HR@10", "HR@50"} <= set(texts(figure))
    assert written(window.draw(table, tmp_path / "a")) == written(window.draw(table, tmp_path / "b"))
    assert window.draw(tables([run(tmp_path / "s", records[0])])[0], tmp_path) is None


def test_conditioning_shows_obedience_and_what_a_filter_adds(tmp_path):
    stages = [{"name": "pre-training", "fit_seconds": 1.0, "epochs": 1,
               "metrics": {"none": {"HR@10": 0.2, "CC@10": 0.3}, "hard-filter": {"HR@10": 0.4, "CC@10": 1.0}}},
              {"name": "fine-tuning", "fit_seconds": 1.0, "epochs": 1,
               "metrics": {"none": {"HR@10": 0.9, "CC@10": 0.9}, "model+filter": {"HR@10": 0.45, "CC@10": 1.0}}}]
    records = [setting("sft.method", method, protocol=Protocol(condition="genre"), stages=stages,
                       metrics={"test": {"CC@10": cc}}) for method, cc in (("cgsa", 0.8), ("lum", 0.9))]
    (table,) = tables([run(tmp_path / "r", made, 2 + place) for place, made in enumerate(records)])
    figure = conditioning.plot(table, table.rows, [row.recipe for row in table.rows])
    found = points(figure.axes[0])
    assert {at(row.mean("CC@10"), row.mean("HR@10")) for row in table.rows} <= found
    assert {at(0.3, 0.2), at(1.0, 0.4), at(1.0, 0.45)} <= found and at(0.9, 0.9) not in found
    assert {"not asked", "hard filter"} <= set(texts(figure))
    drawn = conditioning.draw(table, tmp_path)
    assert "share of the first ten that carry the genre" in drawn.caption
    assert written(drawn) == written(conditioning.draw(table, tmp_path / "again"))


def test_pareto_places_every_row_and_draws_the_front(made, tmp_path):
    figure = pareto.plot(made, made.rows, [row.model for row in made.rows])
    fit, ranking, parameters = figure.axes
    for row in made.rows:
        counted = row.model == "popularity"
        assert at(0.01 if counted else 12.0, row.mean("NDCG@10")) in points(fit)
        assert at(1000 * 0.5 / 40, row.mean("NDCG@10")) in points(ranking)
        assert at(1.0 if counted else 45_100, row.mean("NDCG@10")) in points(parameters)
    assert texts(figure).count("bs$rec_$") == 3 and {"0.1", "10 k"} <= set(texts(figure))
    drawn = pareto.draw(made, tmp_path)
    assert written(drawn) == written(pareto.draw(made, tmp_path / "again"))


def test_what_nobody_measured_has_no_place_on_the_front(tmp_path):
    unmeasured = record("theirs", 0, recipe="external", cost=COUNTED)
    (table,) = tables([run(tmp_path / "r", record("sasrec")), run(tmp_path / "r", record("ease", cost=COUNTED), 2.0),
                       run(tmp_path / "r", unmeasured, 9.0)])
    assert "Not here, as nobody knows what they cost: theirs." in pareto.draw(table, tmp_path / "figures").caption
    (alone,) = tables([run(tmp_path / "a", record("sasrec")), run(tmp_path / "a", unmeasured, 9.0)])
    assert pareto.draw(alone, tmp_path / "figures") is None


def test_a_caption_claims_no_seeds_that_were_not_drawn(tmp_path):
    single = [run(tmp_path / "r", record(model), number + 1.0) for number, model in enumerate(("sasrec", "hstu"))]
    (table,) = tables(single)
    drawn = intervals.draw(table, tmp_path / "figures")
    assert "Bars: 95 % bootstrap over users. " in drawn.caption and "( ): a single run, so users only." in drawn.caption
    assert "Bars: 95 % bootstrap over users. " in pareto.draw(table, tmp_path / "figures").caption
    (mixed,) = tables([*single, run(tmp_path / "r", record("sasrec", 2))])
    assert "over seeds and users (of a single run, over users)." in intervals.draw(mixed, tmp_path / "figures").caption


def test_of_a_tiny_catalogue_no_figure_shows_what_its_table_leaves_out(tmp_path):
    tiny = {"users": 40, "items": 8, "interactions": 480}
    (table,) = tables([run(tmp_path / "r", record(model, dataset_counts=tiny), number + 1.0)
                       for number, model in enumerate(("sasrec", "hstu"))])
    assert intervals.draw(table, tmp_path / "f") is None and pareto.draw(table, tmp_path / "f") is None


def test_the_front_is_what_nothing_cheaper_reaches():
    assert pareto.front([(3, 0.5), (1, 0.2), (2, 0.1), (2, 0.4), (4, 0.5), (1, 0.1)]) == [1, 3, 0]
    assert [pareto.power(value) for value in (0.01, 1, 500, 2e4, 1e6)] == ["0.01", "1", "500", "20 k", "1 M"]


@given(st.floats(-4, 8), st.floats(0.3, 9))
def test_an_axis_of_costs_has_a_few_plain_ticks(start, decades):
    least, most = 10**start, 10 ** (start + decades)
    found = pareto.ticks(least, most)
    assert 1 <= len(found) <= 10 or decades < 0.5
    assert all(least <= tick <= most for tick in found) and found == sorted(set(found))


def test_where_names_have_no_room_only_the_front_has_them(tmp_path):
    cost = record().cost.model_dump()
    (table,) = tables([run(tmp_path, record(f"a-rather-long-name-{number}",
                                            cost=cost | {"fit_seconds": 10 + number / 100}), 1 + number / 1000)
                       for number in range(14)])
    labels = [row.model for row in table.rows]
    fit = pareto.plot(table, table.rows, labels).axes[0]
    best = pareto.front([(row.fit_seconds, row.mean("NDCG@10")) for row in table.rows])
    assert {text.get_text() for text in fit.texts if text.get_text()} == {labels[place] for place in best}
    (grey,) = (line for line in fit.lines if line.get_color() == FAINT and line.get_marker() == "o")
    assert len(grey.get_xdata()) == len(table.rows) - len(best)
    assert {line.get_color() for line in fit.lines} == {FAINT, *map(colour, best)}


def test_of_very_many_rows_only_the_front_is_labelled(tmp_path):
    (table,) = tables([run(tmp_path, record(f"m{number}"), 1 + number / 1000) for number in range(pareto.MOST + 1)])
    fit, _, size = pareto.plot(table, table.rows, [row.model for row in table.rows]).axes
    assert [text.get_text() for text in size.texts if text.get_text()] == [table.rows[0].model]
    assert {at(12.0, row.mean("NDCG@10")) for row in table.rows} <= points(fit)


def test_times_of_a_gpu_do_not_stand_beside_those_of_a_processor(tmp_path):
    gpu = record().machine.model_copy(update={"device": "cuda: H100"})
    made = [record("here"), record("there", machine=gpu)]
    (table,) = tables([run(tmp_path, each, 1 + number) for number, each in enumerate(made)])
    drawn = pareto.draw(table, tmp_path / "figures")
    assert drawn and "there ran on a GPU only" in drawn.caption
    fit, _, size = pareto.plot(table, table.rows, [row.model for row in table.rows]).axes
    named = [{text.get_text() for text in axes.texts if text.get_text()} for axes in (fit, size)]
    assert named == [{"here"}, {"here", "there"}]
    (alone,) = tables([run(tmp_path / "gpu", each) for each in (record("a", machine=gpu), record("b", machine=gpu))])
    assert "GPU only" not in pareto.draw(alone, tmp_path / "figures").caption


def test_nothing_is_drawn_without_data(tmp_path):
    (bare,) = tables([run(tmp_path / "r", record(metrics={"test": {}}))])
    for figure in (learning_curves, window, conditioning, pareto):
        assert figure.draw(bare, tmp_path / "figures") is None
    assert horizon.draw([bare], tmp_path / "figures") is None and horizon.draw([], tmp_path) is None
    assert draw_all([], tmp_path / "figures") == [] and not (tmp_path / "figures").exists()


def test_all_figures_have_names_of_their_own(tmp_path):
    made = tables([*(run(tmp_path / mark, record("sasrec", dataset_fingerprint=mark)) for mark in ("aaaa", "bbbb")),
                   run(tmp_path, record(protocol=Protocol(horizon=2)), steps=2)])
    drawn = draw_all(made, tmp_path / "figures")
    assert {each.dataset for each in drawn} == {"tiny"}
    assert sorted(each.name for each in drawn) == [
        "horizon-tiny-aaaa-leave-one-out-horizon-2", "intervals-tiny-aaaa-leave-one-out",
        "intervals-tiny-aaaa-leave-one-out-horizon-2", "intervals-tiny-bbbb-leave-one-out"]
    assert sorted(path.name for path in (tmp_path / "figures").iterdir()) == sorted(
        f"{each.name}.{form}" for each in drawn for form in ("png", "svg", "pdf"))


def test_names_that_differ_in_capitals_alone_make_files_of_their_own(tmp_path):
    made = tables([run(tmp_path / "r", record(dataset=name)) for name in ("Mine", "mine")])
    names = {each.name for each in draw_all(made, tmp_path / "figures")}
    assert "intervals-mine-leave-one-out" in names and len({name.lower() for name in names}) == 2


def test_a_mean_outside_of_its_interval_does_not_stop_the_drawing():
    assert reaches(Estimate(0.5, None, (0.6, 0.7))) == [[0.0], [pytest.approx(0.2)]]
    assert reaches(Estimate(0.5, None)) is None
