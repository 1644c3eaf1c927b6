import csv
import io
import json
import re

import pytest
from rich.console import Console

from cpbench.report.data_formats import csv_text, document
from cpbench.report.grid import count, seconds
from cpbench.report.markdown import markdown
from cpbench.report.significance import with_statistics
from cpbench.report.tables import comparison_tables
from cpbench.report.terminal import terminal
from tests.report.records import record, runs
from tests.report.test_significance import kept

NASTY = "a|b <script>*x*_y_`z` [red]r[/red]"


def tables(*records):
    return comparison_tables(runs(records))[0]


def beauty():
    data = {"dataset": "amazon-beauty"}
    return tables(record("sasrec", 1, 0.06, **data), record("sasrec", 2, 0.07, **data),
                  record("ease", 1, 0.05, information=["times", "categories"], **data))


def show(made, width: int = 200) -> str:
    console = Console(width=width, file=io.StringIO(), force_terminal=True, color_system="standard")
    console.print(terminal(made, console))
    return console.file.getvalue()


def test_terminal():
    text = show(beauty())
    bold = re.findall(r"\x1b\[1m *(0\.\d+)\x1b\[0m", text)
    assert "0.0650" in bold and "0.0500" not in bold  # the best
    assert "±0.0071" in text and "ids + times +" in text and "45.1 k" in text
    assert "0.0605 / 0.0318 [1]" in text and "0.0668 / 0.0354 [2]" in text
    assert re.search(r"\[1\] S3-Rec .*\.", text)


def test_names_that_end_differently_are_not_cut_to_one():
    text = "".join(show(tables(record("a" * 60 + "-v1"), record("a" * 60 + "-v2"))).split())
    assert "-v1" in text and "-v2" in text
    assert "sees" in show(tables(record("sasrec"), record("hstu")))


def test_a_narrow_terminal_goes_without_the_lesser_metrics_and_says_so():
    wide, narrow = show(beauty(), 200), show(beauty(), 80)
    assert "HR@5" in wide and "Not shown in this narrow terminal" not in wide
    assert "Not shown in this narrow terminal: HR@5" in narrow and "0.0650" in narrow


@pytest.mark.parametrize("width", [200, 120, 100, 80, 60, 45])
def test_at_any_width_every_model_stands_with_what_it_sees_and_no_figure_is_cut(tmp_path, width):
    data = {"overrides": {"epochs": 1, "learning_rate": 0.001}, "information": ["times", "categories"]}
    made, _ = with_statistics(comparison_tables(
        [kept(tmp_path, "recbole:LightSANs", 1, 0.6, **data), kept(tmp_path, "ease", 1, 0.5)])[0], None)
    lines = [re.sub(r"\x1b\[[0-9;]*m", "", line) for line in show(made, width).splitlines()]
    assert max(map(len, lines)) <= width
    end = next(at for at, line in enumerate(lines) if line.startswith("Protocol"))
    rows, below = "\n".join(lines[:end]), " ".join(lines[end:])
    figures = [f"{row.metrics['NDCG@10'].mean:.4f}" for row in made[0].rows]
    assert all(text in rows for text in ("recbole:LightSANs", "ease", "times", "categories", *figures))
    assert not re.search(r"\d…", rows)
    assert ("minus " in rows) != ("NDCG@10 minus" in below), "shown, or named as left out"


def test_markdown_is_a_github_table():
    lines = markdown(beauty()).splitlines()
    rows = [line for line in lines if line.startswith("|")]
    assert len(rows) == 4 and len({line.replace(r"\|", "").count("|") for line in rows}) == 1
    assert set(rows[1]) <= set("|-: ")
    assert "**0.0650**<br>±0.0071" in rows[2] and r"0.0605 / 0.0318 \[1\]<br>" in rows[2]
    assert r"\[1\] S3-Rec" in lines[-3] + lines[-2] + lines[-1]


def test_csv_has_one_line_a_model_with_every_metric():
    rows = list(csv.DictReader(io.StringIO(csv_text(beauty()))))
    assert [row["model"] for row in rows] == ["sasrec", "ease"]
    assert float(rows[0]["HR@10"]) == 0.065 and rows[1]["HR@10 std"] == ""
    assert rows[0]["published HR@10"] == "0.0605; 0.0668" and "RecBoard" in rows[0]["published source"]
    assert rows[0]["seeds"] == "1 2" and rows[0]["serving_lag"] == "0" and rows[0]["users"] == "40"
    assert {row["table"] for row in rows} == {"tuned"}


def test_csv_says_which_p_knows_users_only(tmp_path):
    made = [*(kept(tmp_path, "sasrec", seed, 0.5) for seed in (1, 2)), kept(tmp_path, "hstu", 1, 0.4)]
    found, _ = with_statistics(comparison_tables(made)[0], "sasrec")
    rows = {row["model"]: row for row in csv.DictReader(io.StringIO(csv_text(found)))}
    assert rows["hstu"]["HR@10 p"] and rows["hstu"]["HR@10 p covers seeds"] == "False"
    assert rows["sasrec"]["HR@10 p"] == rows["sasrec"]["HR@10 p covers seeds"] == ""


def test_csv_has_the_counts_of_every_dataset():
    made = tables(record("sasrec"), record("ease", dataset="other", dataset_counts={"users": 3, "sessions": 9}))
    rows = list(csv.DictReader(io.StringIO(csv_text(made))))
    assert [row["sessions"] for row in rows] == ["9", ""] and [row["items"] for row in rows] == ["", "300"]


def test_json_holds_everything():
    made = json.loads(json.dumps(document(beauty(), ["careful"])))
    assert made["warnings"] == ["careful"]
    (table,) = made["tables"]
    assert table["protocol"]["exclude_seen"] is True and table["ceiling"] is None
    assert table["rows"][0]["metrics"]["HR@10"]["mean"] == 0.065 and table["rows"][1]["metrics"]["HR@10"]["std"] is None
    published = table["rows"][0]["published"]
    assert [entry["metrics"]["HR@10"] for entry in published] == [0.0605, 0.0668, 0.0444]
    assert [bool(entry["undertuned"]) for entry in published] == [False, False, True]


def test_text_from_data_stays_text():
    made = tables(record(NASTY, dataset=NASTY), record("ease", dataset=NASTY))
    assert "[red]r[/red]" in show(made)
    text = markdown(made)
    assert "<script>" not in text.replace(r"\<script\>", "") and r"a\|b" in text
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert len({line.replace(r"\|", "").count("|") for line in rows}) == 1


def test_the_ceiling_row():
    made = tables(record(), record("oracle", hr=0.9, information=["the simulator's truth"]))
    assert "oracle" in markdown(made).splitlines()[5] and "simulator's" in show(made)
    rows = list(csv.DictReader(io.StringIO(csv_text(made))))
    assert [row["kind"] for row in rows] == ["model", "ceiling"]
    assert document(made, [])["tables"][0]["ceiling"]["metrics"]["HR@10"]["mean"] == 0.9


def test_numbers_for_people():
    assert [count(value) for value in (812, 45_100, 1_300_000)] == ["812", "45.1 k", "1.3 M"]
    assert [seconds(value) for value in (0.31, 9.96, 1234.5)] == ["0.3", "10.0", "1,234"]
