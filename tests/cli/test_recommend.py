import json
import shutil
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from tests.cli.process import cpbench, on_a_terminal
from tests.cli.refusal import refused
from tests.experiments.tiny import place, tiny

HOSTILE = "[bold]Loud[/bold] \x1b[31mred\n:smile:"


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    """Two recorded runs on a dataset with a hostile and a missing title: one taught genre, one that counts."""
    folder = tmp_path_factory.mktemp("home")
    data = tiny()
    titles = ["", HOSTILE, *data.item_table["title"].to_list()[2:]]
    place(folder, replace(data, item_table=data.item_table.with_columns(title=pl.Series(titles))))
    done = cpbench(folder, "run", "--model", "climber-pilot", "--dataset", "tiny", "--condition", "genre", "--set",
                   "epochs=2", "--set", "sft.epochs=1", "--include-seen")
    assert done.returncode == 0, done.stderr
    done = cpbench(folder, "run", "--model", "popularity", "--dataset", "tiny")
    assert done.returncode == 0, done.stderr
    return folder


def test_one_json_document(home):
    done = cpbench(home, "recommend", "tiny/climber-pilot", "--user", "u3", "--user",
                   "u1", "--condition", "genre=G1", "--condition", "popularity=head", "-k", "4", "--json")
    assert done.returncode == 0, done.stderr
    assert done.stderr.startswith("run: results/tiny/leave-one-out,seen=kept,condition=genre/climber-pilot/")
    document = json.loads(done.stdout)
    assert (document["dataset"], document["model"], document["exclude_seen"]) == ("tiny", "climber-pilot", False)
    assert [user["user"] for user in document["users"]] == ["u3", "u1"]
    user = document["users"][0]
    assert user["history_length"] == 11 and len(user["history"]) == 10
    assert set(user["history"][0]) == {"id", "title", "values", "time"}
    assert [(each["condition"], each["how"]) for each in user["lists"]] == [
        (None, "none"), ("genre=g1", "model"), ("popularity=head", "filtered")]
    for each in user["lists"]:
        assert len(each["items"]) == 4
        for item in each["items"]:
            assert set(item) == {"id", "title", "values", "score", "lists"}
            assert item["values"]["genre"] == [f"g{int(item['id'][1:]) % 3}"]
        scores = [item["score"] for item in each["items"]]
        assert scores == sorted(scores, reverse=True)
    assert all(item["values"]["popularity"] == ["head"] for item in user["lists"][2]["items"])


def test_the_table_says_how_and_shows_titles_as_they_are(home):
    done = cpbench(home, "recommend", "popularity", "--history", "i1,i0", "--condition", "genre=g1", "-k", "25",
                   "--quiet", NO_COLOR="1")
    assert done.returncode == 0 and done.stderr == ""
    text = done.stdout
    assert "[bold]Loud[/bold] [31mred :smile:" in text and "\x1b" not in text
    assert "genre=g1" in text and "only 9 of 25 left" in text
    assert "filtered: the best unconditioned scores among the items that carry the value" in text
    assert "instructed" not in text
    assert "×2" in text and "items occur in several lists: ×n, in n of the 2" in text
    assert "items of the history are left out" in text
    taught = cpbench(home, "recommend", "climber-pilot", "--user", "u1", "--condition", "genre=g1").stdout
    assert "of 10 carry it" in taught and "instructed: the model's own way" in taught and "filtered" not in taught


def test_many_lists_stay_readable_on_a_narrow_terminal(home):
    conditions = [part for value in ("g0", "g1", "g2") for part in ("--condition", f"genre={value}")]
    lines = on_a_terminal(home, 80, "recommend", "condition=genre", "--user", "u0", *conditions)
    assert sum("┏" in line for line in lines) == 2  # four lists in two tables
    assert not any("…" in line for line in lines)


def test_users_from_a_file(home, tmp_path):
    (tmp_path / "users.csv").write_text("user\nu4\nu5\n")
    done = cpbench(home, "recommend", "popularity", "--users-from", tmp_path / "users.csv", "--user", "u9", "--json")
    assert [user["user"] for user in json.loads(done.stdout)["users"]] == ["u9", "u4", "u5"]


@pytest.mark.parametrize(("arguments", "sentence"), [
    (("popularity",), "whose lists? Give --user ID, --users-from FILE or --history ITEM,ITEM,..."),
    (("popularity", "--user", "u1", "--history", "i1"), "--history takes the place of users"),
    (("popularity", "--user", "u100"), "unknown user 'u100'; did you mean 'u10'"),
    (("popularity", "--history", 'i1,"so,ng 5"'), "unknown item 'so,ng 5'"),
    (("popularity", "--history", "i1,song5"), "unknown item 'song5'; there are 30, such as 'i0' and 'i1'"),
    (("popularity", "--user", "u1", "--condition", "genre=[g9]"), "unknown genre '[g9]'; "),
    (("popularity", "--user", "u1", "-k", "31"), "k = 31 is outside 1..30"),
    (("sasrec", "--user", "u1"), "no run 'sasrec' with a stored model in results"),
    (("populrity", "--user", "u1"), "with a stored model in results, did you mean 'popularity'?"),
    (("tiny/populrity", "--user", "u1"), "with a stored model in results, did you mean 'tiny/popularity'?"),
    (("popularity", "--user", "u1", "--results", "nowhere"), "no run record in nowhere"),
])
def test_bad_usage_is_one_sentence_and_status_2(home, arguments, sentence):
    assert sentence in refused(cpbench(home, "recommend", *arguments), 2)


def test_a_damaged_run_is_one_sentence_too(home, tmp_path):
    results = tmp_path / "results"
    shutil.copytree(home / "results", results)
    (folder,) = (path.parent for path in results.glob("tiny/leave-one-out/popularity/*/record.json"))
    ask = ("recommend", folder, "--user", "u1")

    other = folder.with_name("other")
    shutil.copytree(folder, other)
    (other / "record.json").write_text("{")
    assert cpbench(home, "recommend", "popularity", "--user", "u1", "--results", results).returncode == 0
    assert "is damaged" in refused(cpbench(home, "recommend", other, "--user", "u1"), 2)

    weights, facts = folder / "model" / "model.safetensors", folder / "model" / "model.json"
    whole, document = weights.read_bytes(), facts.read_text()
    weights.write_bytes(whole[:20])
    assert "no readable model in" in refused(cpbench(home, *ask), 2)
    weights.write_bytes(whole)
    facts.write_text('{"model": "popularity"}')
    assert "does not load ('config')" in refused(cpbench(home, *ask), 2)
    facts.write_text(document)
    record = json.loads((folder / "record.json").read_text())
    (folder / "record.json").write_text(json.dumps({**record, "dataset_fingerprint": "0"}))
    assert "was trained on other data (0)" in refused(cpbench(home, *ask), 2)
    shutil.rmtree(folder / "model")
    assert "holds a record but no stored model" in refused(cpbench(home, *ask), 2)
