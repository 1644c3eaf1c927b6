import json
import re
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from cpbench.data.protocol import Protocol
from cpbench.evaluation.metrics import ACTIVITY, POPULARITY, accuracy, by_activity, by_popularity, horizon
from cpbench.report.record import RunRecord, run_folders
from cpbench.report.verify import verify
from tests.report.records import record, store

REFERENCE = Path(__file__).parents[2] / "results" / "reference"
RANKS = np.array([[1.0, 3.5], [12.0, 2.0], [np.inf, 50.0], [7.5, np.inf]])


def kept(results: Path, made: RunRecord, ranks: np.ndarray = RANKS, **more: np.ndarray) -> Path:
    folder = store(results, made)
    table = pl.DataFrame({"user": np.arange(len(ranks)), "target": np.arange(len(ranks)), "rank": ranks[:, 0],
                          **{f"rank {step + 1}": ranks[:, step] for step in range(1, ranks.shape[1])}, **more})
    table.write_parquet(folder / "ranks.parquet")
    return folder


def honest(**changes) -> RunRecord:
    test = {**accuracy(RANKS[:, 0]), **horizon(RANKS), "coverage@10": 0.3}
    return record(metrics={"test": test}, notes={"events": 4.0}, commit="abc", dirty=False).model_copy(update=changes)


def test_what_follows_from_the_ranks_is_counted(tmp_path):
    verdict = verify(kept(tmp_path, honest()))
    assert verdict.problems == verdict.remarks == []
    assert verdict.recomputed == len(accuracy(RANKS[:, 0])) + len(horizon(RANKS))


@pytest.mark.parametrize("name", ["HR@10", "NDCG@200", "MRR", "HR@50/step 2"])
@pytest.mark.parametrize("value", [0.123, None])
def test_a_changed_metric_is_found(tmp_path, name, value):
    made = honest()
    metrics = made.metrics.model_copy(update={"test": {**made.metrics.test, name: value}})
    verdict = verify(kept(tmp_path, made.model_copy(update={"metrics": metrics})))
    assert len(verdict.problems) == 1 and verdict.problems[0].startswith(f"{name} is {value} in the record, ")


@pytest.mark.parametrize(("by", "levels"), [(by_activity, ACTIVITY), (by_popularity, POPULARITY)])
def test_thirds_of_the_events_must_give_the_whole(tmp_path, by, levels):
    made = honest()
    made.metrics.test.update(by(RANKS[:, 0], np.array([3, 1, 2, 1])))  # thirds of 2, 1 and 1 events
    assert verify(kept(tmp_path / "good", made)).problems == []
    made.metrics.test[f"NDCG@10/{levels[2]}"] = 0.9
    (problem,) = verify(kept(tmp_path / "bad", made)).problems
    assert problem.startswith(f"NDCG@10 of {', '.join(levels)} (") and "0.9000) cannot be 0.3" in problem


@pytest.mark.parametrize(("change", "problem"), [
    (lambda ranks: ranks[:-1], "counts 4 test events, ranks.parquet holds 3"),
    (lambda ranks: np.where(ranks == 12.0, np.nan, ranks), "a rank below 1 or none at all"),
    (lambda ranks: np.where(ranks == 12.0, 0.0, ranks), "a rank below 1 or none at all"),
    (lambda ranks: np.where(ranks == 12.0, 9.0, ranks), "HR@10 is 0.5 in the record, 0.75"),
])
def test_changed_ranks_are_found(tmp_path, change, problem):
    assert any(problem in each for each in verify(kept(tmp_path, honest(), change(RANKS))).problems)


def test_an_event_counts_once(tmp_path):
    folder = kept(tmp_path, honest())
    table = pl.read_parquet(folder / "ranks.parquet")
    table.with_columns(user=0, target=0).write_parquet(folder / "ranks.parquet")
    assert verify(folder).problems == ["an event occurs twice in ranks.parquet"]


def test_every_stage_is_looked_at(tmp_path):
    after = np.array([2.0, 2.0, 2.0, 300.0])
    stage = {"name": "fine-tuning", "metrics": {"model": accuracy(after), "none": accuracy(RANKS[:, 0])},
             "fit_seconds": 1.0, "epochs": 1}
    made = RunRecord.model_validate({**honest().model_dump(), "stages": [stage]})
    good = verify(kept(tmp_path / "good", made, **{"rank, fine-tuning: model": after,
                                                   "rank, fine-tuning: none": RANKS[:, 0]}))
    assert good.problems == [] and good.recomputed == 3 * len(accuracy(after)) + len(horizon(RANKS))
    bad = verify(kept(tmp_path / "bad", made, **{"rank, fine-tuning: model": RANKS[:, 0]}))
    assert "fine-tuning, model: HR@1 is 0.0 in the record, 0.250000 by the ranks" in bad.problems
    assert "ranks.parquet lacks the column 'rank, fine-tuning: none'" in bad.problems


def test_a_beam_supports_no_more_than_its_width(tmp_path):
    ranks = RANKS[:, :1]
    narrow = record(metrics={"test": accuracy(ranks[:, 0], 20)}, notes={"events": 4.0, "beam": 20.0})
    assert verify(kept(tmp_path / "narrow", narrow, ranks)).problems == []
    claimed = record(metrics={"test": accuracy(ranks[:, 0])}, notes={"events": 4.0, "beam": 20.0})
    assert verify(kept(tmp_path / "claimed", claimed, ranks)).problems == ["no rank supports HR@100"]


def test_what_cannot_be_read_is_a_problem(tmp_path):
    assert "cannot be read" in verify(store(tmp_path, honest())).problems[0]
    folder = store(tmp_path, record("ease"))
    (folder / "ranks.parquet").write_text("no table")
    assert "nothing supports the metrics" in verify(folder).problems[0]
    (folder / "record.json").write_text("{")
    assert "is damaged" in verify(folder).problems[0]
    assert len(run_folders(tmp_path)) == 2


def test_a_file_that_was_exchanged_is_found(tmp_path):
    made = honest(checksums={"ranks.parquet": "sha256:" + "0" * 64, "curve.json": "sha256:" + "0" * 64})
    verdict = verify(kept(tmp_path, made))
    assert verdict.sealed and len(verdict.problems) == 2
    assert "ranks.parquet is not the file written with the record" in verdict.problems[0]
    assert "curve.json cannot be read" in verdict.problems[1]


def trained(results: Path, curve: list[dict], **changes) -> Path:
    """`honest`, with a learning curve of three epochs of which the second is the best."""
    valid = accuracy(RANKS[:, 1])
    made = honest(**{"metrics": honest().metrics.model_copy(update={"valid": valid}), **changes})
    folder = kept(results, made)
    (folder / "curve.json").write_text(json.dumps(curve))
    return folder


CURVE = [{"epoch": epoch, "best_epoch": min(epoch, 2), "parts": {},
          "valid": accuracy(RANKS[:, 1] if epoch == 2 else RANKS[:, 0])} for epoch in (1, 2, 3)]


def test_epochs_and_validation_are_those_of_the_curve(tmp_path):
    folder = trained(tmp_path, CURVE)
    assert verify(folder).problems == []
    text = (folder / "record.json").read_text()
    for old, new, problem in [
        ('"valid":{"HR@1":0.0', '"valid":{"HR@1":0.9', "validation HR@1 is 0.9 in the record, 0.0 in curve.json"),
        ('"best_epoch":2', '"best_epoch":1', "best epoch: 1 in the record, 2 in curve.json"),
        ('"epochs":3', '"epochs":30', "epochs: 30 in the record, 3 in curve.json"),
        ('"best_epoch":2', '"best_epoch":9999', "the record says that epoch 9999 of 3 was the best"),
    ]:
        assert old in text
        (folder / "record.json").write_text(text.replace(old, new))
        assert verify(folder).problems[0] == problem
    (folder / "record.json").write_text(text)
    for damaged in ("{", "3", '[{"epoch": 1}, 2]', '[{"best_epoch": 2}]'):
        (folder / "curve.json").write_text(damaged)
        assert any("curve.json cannot be read as a learning curve" in each for each in verify(folder).problems)


def test_a_curve_of_another_librarys_figures_and_filtered_lists_are_not_compared(tmp_path):
    theirs = [{"epoch": each["epoch"], "best_epoch": each["best_epoch"], "valid": {"NDCG@10": 0.01}} for each in CURVE]
    assert verify(trained(tmp_path / "a", theirs)).problems == []
    other = [{**each, "valid": {"NDCG@10": 0.01}} for each in CURVE]
    assert verify(trained(tmp_path / "b", other, obeys="model+filter")).problems == []


@pytest.mark.parametrize(("change", "problem"), [
    ({"dataset": "ml-1m"}, "the record is of dataset ml-1m, its folder of tiny"),
    ({"model": "hstu"}, "the record is of model hstu, its folder of sasrec"),
    ({"seed": 10}, "the record is of run tuned-seed10, its folder of tuned-seed1"),
    ({"protocol": Protocol(serving_lag=900)}, "the record is of protocol leave-one-out,lag=900, its folder of "
                                              "leave-one-out"),
])
def test_the_names_are_those_of_the_folder(tmp_path, change, problem):
    folder = kept(tmp_path, honest())
    assert verify(folder).problems == []
    (folder / "record.json").write_text(honest(**change).model_dump_json())
    assert verify(folder).problems == [problem]


def test_a_folder_that_was_copied_elsewhere_is_no_problem(tmp_path):
    made = honest(model="recbole:SASRec")
    folder = kept(tmp_path, made)
    assert verify(folder).problems == [] == verify(folder).remarks  # in a folder called recbole_SASRec
    (tmp_path / "sent").mkdir()
    copied = folder.rename(tmp_path / "sent" / "run")
    assert verify(copied).problems == [] and "not in the folder where cpbench put it" in verify(copied).remarks[0]


def test_where_it_came_from_is_remarked(tmp_path):
    assert verify(kept(tmp_path / "a", honest(dirty=True))).remarks == ["made from changed sources of commit abc"]
    assert "an installed package" in verify(kept(tmp_path / "b", honest(commit=None))).remarks[0]
    assert "a ceiling" in verify(store(tmp_path / "c", honest(model="oracle"))).remarks[0]


def test_the_reference_results_can_be_trusted():
    verdicts = [verify(folder) for folder in run_folders(REFERENCE)]
    assert len(verdicts) > 50 and sum(verdict.recomputed for verdict in verdicts) > 1000
    assert [verdict for verdict in verdicts if verdict.problems] == []
    assert not any("changed sources" in remark for verdict in verdicts for remark in verdict.remarks)


def test_what_is_no_number_and_a_record_without_metrics_are_found(tmp_path):
    folder = kept(tmp_path / "nan", honest())
    text = (folder / "record.json").read_text()
    (folder / "record.json").write_text(re.sub(r'"MRR":[\d.]+', '"MRR":NaN', text))
    assert [each for each in verify(folder).problems if each.startswith("MRR is nan in the record")]
    empty = verify(kept(tmp_path / "empty", record(metrics={"test": {}}, notes={"events": 4.0})))
    assert empty.problems == ["no metric of the record could be recomputed"]


@pytest.mark.parametrize(("change", "problem"), [
    (lambda table: table.drop("user"), "lacks the column 'user'"),
    (lambda table: table.with_columns(pl.col("target").cast(pl.String)), "no whole numbers in the column 'target'"),
    (lambda table: table.with_columns(pl.col("rank").cast(pl.String)), "no numbers in the column 'rank'"),
    (lambda table: table.head(0), "holds no test event"),
])
def test_a_file_that_is_no_table_of_ranks_is_a_problem(tmp_path, change, problem):
    folder = kept(tmp_path, honest())
    change(pl.read_parquet(folder / "ranks.parquet")).write_parquet(folder / "ranks.parquet")
    (found,) = verify(folder).problems
    assert problem in found and "nothing supports the metrics" in found


def test_a_step_needs_ranks_of_its_own(tmp_path):
    (problem,) = verify(kept(tmp_path, honest(), RANKS[:, :1])).problems
    assert problem == "no rank supports HR@10/step 1"
