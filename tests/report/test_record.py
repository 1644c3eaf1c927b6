import json
import math

import pytest

from cpbench.errors import UsageError
from cpbench.report.record import load_record
from tests.report.records import record, store


def test_what_is_written_is_read(tmp_path):
    made = record(metrics={"test": {"HR@10": 0.5, "gini@10": math.nan}})
    text = (store(tmp_path, made) / "record.json").read_text()
    assert json.loads(text)["metrics"]["test"]["gini@10"] is None  # NaN is not JSON
    again = load_record(store(tmp_path, made, "again"))
    assert again.metrics.test == {"HR@10": 0.5, "gini@10": None} and again.protocol == made.protocol


def test_a_damaged_foreign_or_older_record_is_named(tmp_path):
    folder = store(tmp_path, record())
    path = folder / "record.json"
    document = json.loads(path.read_text())
    for text, sentence in (
        (path.read_text()[:100], "is damaged"),
        ("[1]", "is not a run record"),
        (json.dumps({**document, "seed": "x", "cost": {}}), "is not a run record (wrong or missing: cost."),
        (json.dumps({**document, "notes": {"beam": math.nan}}), "is not a run record (wrong or missing: notes.beam)"),
        ("[" * 100_000, "is damaged"),
        (json.dumps({**document, "model": "a\x1b[31m"}), "holds control characters"),
        (json.dumps({**document, "config": {"k": ["a\x9b31m"]}}, ensure_ascii=False), "holds control characters"),
        (json.dumps({**document, "schema_version": 0}), "an older cpbench (record schema 0, this one reads 1); repeat"),
        (json.dumps({**document, "schema_version": 9}), "a newer cpbench (record schema 9, this one reads 1); upgrade"),
    ):
        path.write_text(text)
        with pytest.raises(UsageError) as caught:
            load_record(folder)
        assert str(path) in str(caught.value) and sentence in str(caught.value)
    with pytest.raises(UsageError, match="cannot be read: No such file"):
        load_record(tmp_path)


def test_keys_of_a_later_version_do_no_harm(tmp_path):
    folder = store(tmp_path, record())
    document = json.loads((folder / "record.json").read_text())
    (folder / "record.json").write_text(json.dumps({**document, "horizon": [1, 2]}))
    assert load_record(folder) == record()
