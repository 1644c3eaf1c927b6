import re

from cpbench.data.protocol import Protocol
from cpbench.report.figures.labels import distinct, file_name, heading, shortened
from cpbench.report.tables import comparison_tables
from tests.report.figures.made import setting
from tests.report.records import record, runs

COUNTED = {**record().cost.model_dump(), "epochs": 0}


def table(*records):
    (found,), _ = comparison_tables(runs(records))
    return found


def test_what_all_rows_have_in_common_is_said_once():
    made = table(*(setting("mode", mode, hr=hr) for mode, hr in (("nip", 0.5), ("mip", 0.4), ("none", 0.3))))
    assert distinct(made.rows) == (["nip", "mip", "mode=none"], "All rows: sasrec, tuned.")
    mixed = table(record("sasrec"), setting("width", 32, hr=0.4), record("popularity", hr=0.1, cost=COUNTED))
    assert distinct(mixed.rows) == (["sasrec", "sasrec (width=32)", "popularity"], "All learned rows: tuned.")


def test_long_labels_are_cut_and_stay_different():
    made = table(*(setting("name", "x" * 80 + str(number), hr=0.5 - number / 10) for number in range(2)))
    labels, _ = distinct(made.rows, 20)
    assert all(len(label) <= 20 for label in labels) and len(set(labels)) == 2 and "…" in labels[0]
    assert shortened("a\n b", 10) == "a b"


def test_names_of_files_tell_all_protocols_apart():
    protocols = [Protocol(), Protocol(serving_lag=900), Protocol(exclude_seen=False), Protocol(horizon=10),
                 Protocol(condition="genre"), Protocol(split="temporal"), Protocol(split="temporal", holdout=0.2),
                 Protocol(split="temporal", targets_per_user=3)]
    made = [table(record(protocol=protocol)) for protocol in protocols]
    names = {file_name("pareto", each) for each in [*made, table(record(recipe="paper"))]}
    assert len(names) == len(protocols) + 1 and "pareto-tiny-leave-one-out" in names
    conditions = [table(record(protocol=Protocol(condition=name))) for name in ("a b", "a-b", "a/b", "A-b")]
    assert len({file_name("pareto", each).lower() for each in conditions}) == 4
    strange = file_name("pareto", table(record(dataset="../a b/<c>")))
    assert re.fullmatch(r"pareto-\.\.-a-b-c-leave-one-out-\w{6}", strange)
    assert len({heading(each) for each in made}) == len(protocols)
    assert heading(made[2]) == "tiny, leave-one-out, seen items kept"
    assert heading(made[1]) == "tiny, leave-one-out, lag 900 s"
    assert heading(made[4]) == "tiny, leave-one-out, given genre"
