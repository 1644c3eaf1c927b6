"""The trained models reach the published figures on real data: `cpbench run` itself, one seed each.

A finished run is found again (results/ beside the prepared data of the gates), so a second `make gates` takes seconds.
"""

import pytest

from tests.gates.conftest import MIRROR, Trained

REFERENCE = MIRROR.parent / "reference"
SENTENCES = "all-MiniLM-L6-v2"

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
@pytest.mark.parametrize(("model", "dataset", "least"), [
    ("bsarec", "amazon-beauty", 0.097),  # RecBoard, five seeds: .1002
    ("bsarec", "amazon-sports", 0.057),  # RecBoard, five seeds: .0603
    ("bert4rec", "amazon-beauty", 0.070),  # RecBoard, five seeds: .0730
    ("gru4rec", "amazon-beauty", 0.060),  # time-to-split, length 128, consecutive duplicates dropped: .0638
])
def test_other_sequence_models_reach_the_best_we_know(trained: Trained, model: str, dataset: str, least: float) -> None:
    assert trained(model, dataset)["metrics"]["test"]["HR@10"] >= least


@pytest.mark.gate
def test_the_best_transformer_with_a_softmax_on_beauty(trained: Trained) -> None:
    # transformer_benchmark, one seed: eSASRec .0928, SASRec .0921
    assert max(trained(model, "amazon-beauty")["metrics"]["test"]["HR@10"] for model in ("esasrec", "sasrec")) >= 0.092


@pytest.mark.gate
def test_sasrec_on_ml_1m_within_twenty_minutes(trained: Trained) -> None:
    record = trained("sasrec", "ml-1m", "--set=width=64", "--set=validate_every=1", "--set=max_minutes=20")
    assert record["protocol"]["exclude_seen"]
    assert record["metrics"]["test"]["HR@10"] >= 0.30
    assert record["metrics"]["test"]["NDCG@10"] >= 0.172
    assert record["cost"]["peak_rss_bytes"] <= 2e9


@pytest.mark.gate
@pytest.mark.parametrize(("dataset", "least"), [("amazon-beauty", 0.090), ("amazon-sports", 0.055)])
def test_hstu_without_the_request_time(trained: Trained, dataset: str, least: float) -> None:
    # RecBoard, five seeds, with 512 negatives: .0945 and .0587
    record = trained("hstu", dataset)
    assert "request time" not in record["information"]
    assert record["metrics"]["test"]["HR@10"] >= least


@pytest.mark.gate
def test_hstu_on_ml_1m(trained: Trained) -> None:
    # the public code, which looks at the request time and does not validate: .3097 and .1720
    record = trained("hstu", "ml-1m", "--set", "request_time=true")
    assert record["information"] == ["times", "request time"]
    assert record["metrics"]["test"]["HR@10"] >= 0.310
    assert record["metrics"]["test"]["NDCG@10"] >= 0.172


@pytest.mark.gate
@pytest.mark.parametrize(("dataset", "least"), [("amazon-beauty", 0.061), ("amazon-sports", 0.030)])
def test_climber_pilot_as_the_paper_sets_it(trained: Trained, dataset: str, least: float) -> None:
    # the paper reports .0674 and .0328
    assert trained("climber-pilot", dataset, "--recipe", "paper")["metrics"]["test"]["HR@10"] >= least


@pytest.mark.gate
def test_tiger_on_beauty_with_offline_text(trained: Trained) -> None:
    # the paper, with Sentence-T5 vectors: .0648
    record = trained("tiger", "amazon-beauty")
    assert record["notes"]["beam"] == 50
    assert record["metrics"]["test"]["HR@10"] >= 0.058


@pytest.mark.gate
def test_tiger_on_beauty_with_sentence_embeddings(trained: Trained) -> None:
    library = pytest.importorskip("sentence_transformers", reason="no sentence-transformers: pip install cpbench[text]")
    try:
        library.SentenceTransformer(SENTENCES, local_files_only=True)
    except OSError:
        pytest.skip(f"no {SENTENCES} on this machine")
    record = trained("tiger", "amazon-beauty", "--set", f"embedding=sentence-transformers:{SENTENCES}")
    assert record["metrics"]["test"]["HR@10"] >= 0.064


@pytest.mark.gate
def test_tiger_on_beauty_with_published_semantic_ids(trained: Trained) -> None:
    # LETTER's ids take the tokeniser out of the question: what is missing here is the generator's fault
    index, numbers = REFERENCE / "letter" / "Beauty.index.json.gz", REFERENCE / "s3rec" / "Beauty.id_maps.json.gz"
    if not (index.exists() and numbers.exists()):
        pytest.skip("no shared data: the published semantic ids are not in ../shared/data/reference")
    settings = ("--set", f"tokens={index}", "--set", f"token_items={numbers}")
    assert trained("tiger", "amazon-beauty", *settings)["metrics"]["test"]["HR@10"] >= 0.058
