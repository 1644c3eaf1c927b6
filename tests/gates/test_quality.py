"""The trained models reach the published figures on real data: `cpbench run` itself, one seed each.

A finished run is found again (results/ beside the prepared data of the gates), so a second `make gates` takes seconds.
"""

import pytest

from tests.gates.conftest import Trained

RECBOARD = {"width": 64, "batch_size": 512, "learning_rate": "5e-4", "weight_decay": "1e-8", "dropout": 0.4,
            "attention_dropout": 0.4, "epochs": 300, "patience": 8, "validate_every": 5}
"""RecBoard's settings of SASRec with binary cross-entropy on Beauty; patience and validate_every are ours."""


@pytest.mark.gate
def test_sasrec_with_its_own_loss_on_beauty(trained: Trained) -> None:
    # RecBoard, five seeds: .0651 to .0668, three standard deviations .004
    settings = [f"--set={key}={value}" for key, value in RECBOARD.items()]
    hits = trained("sasrec", "amazon-beauty", "--recipe", "paper", *settings)["metrics"]["test"]["HR@10"]
    assert 0.0651 - 0.004 <= hits <= 0.0668 + 0.004


@pytest.mark.gate
def test_sasrec_with_a_softmax_on_beauty(trained: Trained) -> None:
    assert trained("sasrec", "amazon-beauty")["metrics"]["test"]["HR@10"] >= 0.086


@pytest.mark.gate
def test_sasrec_on_ml_1m_within_twenty_minutes(trained: Trained) -> None:
    record = trained("sasrec", "ml-1m")
    assert record["protocol"]["exclude_seen"]
    assert record["metrics"]["test"]["HR@10"] >= 0.30
    assert record["metrics"]["test"]["NDCG@10"] >= 0.172
    assert record["config"]["max_minutes"] <= 20
    assert record["cost"]["peak_rss_bytes"] <= 2e9


@pytest.mark.gate
@pytest.mark.parametrize(("dataset", "least"), [("amazon-beauty", 0.061), ("amazon-sports", 0.030)])
def test_climber_pilot_as_the_paper_sets_it(trained: Trained, dataset: str, least: float) -> None:
    # the paper reports .0674 and .0328
    assert trained("climber-pilot", dataset, "--recipe", "paper")["metrics"]["test"]["HR@10"] >= least
