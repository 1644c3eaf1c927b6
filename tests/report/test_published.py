from cpbench.data.protocol import Protocol
from cpbench.models.registry import model_names
from cpbench.report.caption import caption
from cpbench.report.published import published, published_for
from cpbench.report.tables import comparison_tables
from tests.report.records import record, runs


def about(model: str = "sasrec", dataset: str = "amazon-beauty", loss: str = "bce", **changes):
    found = published_for(record(model, dataset=dataset, config={"loss": loss, "mode": "tamip"}, **changes))
    return [entry for entry in found if not entry.undertuned]


def test_values_are_about_the_same_model_data_and_protocol():
    assert [entry.metrics["HR@10"] for entry in about()] == [0.0605, 0.0668]
    assert [entry.metrics["HR@10"] for entry in about(loss="sampled-softmax")] == [0.0921]
    assert [entry.metrics["HR@10"] for entry in about("climber-pilot")] == [0.0674]
    assert [entry.metrics["HR@10"] for entry in about("climber-pilot", "amazon-sports")] == [0.0328]
    assert about("climber-pilot", "amazon-toys")[0].metrics == {"HR@10": 0.0613}
    assert about("ease", "lastfm")[0].metrics["NDCG@10"] == 0.0517
    assert about(dataset="ml-1m", loss="gbce")[0].metrics == {"HR@10": 0.3003, "NDCG@10": 0.1726}
    assert about(dataset="tiny") == []


def test_no_value_for_another_protocol():
    assert about(protocol=Protocol(serving_lag=900)) == about(protocol=Protocol(horizon=10)) == []
    assert about("climber-pilot", protocol=Protocol(condition="category")) == []
    assert about(protocol=Protocol(split="temporal")) == []
    # a source that does not say how it treats seen items is shown either way, one that does is not
    assert [entry.metrics["HR@10"] for entry in about(protocol=Protocol(exclude_seen=False))] == [0.0668]


def test_every_entry_is_of_a_known_model_and_has_a_source():
    for entry in published():
        assert entry.model in model_names() and len(entry.source) > 20
        assert all(0 < value < 1 for value in entry.metrics.values())


def test_an_undertuned_baseline_is_a_note_and_no_expectation():
    (table,), _ = comparison_tables(runs([record("hstu", dataset="amazon-beauty", config={"loss": "softmax"})]))
    assert [entry.metrics["HR@10"] for entry in table.rows[0].published] == [0.0945]
    assert any(line.startswith("Published, but no reference: hstu, HR@10 0.0346 in Climber-Pilot") and ".0945" in line
               for line in caption(table))
