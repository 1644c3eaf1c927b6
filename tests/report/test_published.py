from cpbench.data.protocol import Protocol
from cpbench.models.registry import model_names
from cpbench.report.published import published, published_for
from tests.report.records import record


def about(model: str = "sasrec", dataset: str = "amazon-beauty", loss: str = "bce", **changes):
    return published_for(record(model, dataset=dataset, config={"loss": loss, "mode": "tamip"}, **changes))


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
    assert about(protocol=Protocol(serving_lag=900)) == []
    assert about(protocol=Protocol(split="temporal")) == []
    # a source that does not say how it treats seen items is shown either way, one that does is not
    assert [entry.metrics["HR@10"] for entry in about(protocol=Protocol(exclude_seen=False))] == [0.0668]


def test_every_entry_is_of_a_known_model_and_has_a_source():
    for entry in published():
        assert entry.model in model_names() and len(entry.source) > 20
        assert all(0 < value < 1 for value in entry.metrics.values())
