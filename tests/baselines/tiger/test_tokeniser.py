import builtins
import gzip
import json
from dataclasses import replace
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from cpbench.baselines.tiger.embedding import embed
from cpbench.baselines.tiger.published import read_index
from cpbench.baselines.tiger.rk_means import rk_means
from cpbench.baselines.tiger.rq_vae import RQVAE, rq_vae
from cpbench.baselines.tiger.text import sentences, template, text_fields
from cpbench.baselines.tiger.tokeniser import Health, Tokeniser, shared_out, tell_apart
from hypothesis import given
from hypothesis import strategies as st

from cpbench.data.dataset import Dataset
from cpbench.errors import UsageError
from tests.random_data import ragged

SETTINGS: dict[str, Any] = {
    "fields": [], "embedding": "tf-idf", "width": 16, "quantiser": "rk-means", "codes": 4, "levels": 2,
    "share_out": False, "least_usage": 0.5, "epochs": 5, "learning_rate": 0.4, "seed": 1,
    "device": torch.device("cpu")}


def products(**columns: Any) -> Dataset:
    """Four items with these columns."""
    return replace(ragged(6, n_items=4), item_table=pl.DataFrame({"id": list("abcd"), **columns}))


RICH = products(title=["Red &amp; blue", None, " Hat ", ""], brand=[["A"], [], ["B"], None],
                category=[["x", "y"], [], ["x"], []], price=[1.5, None, 2.0, None])


def test_the_sentence_of_an_item() -> None:
    fields = text_fields(RICH, [])
    assert template(fields) == "{title}. brand: {brand}. category: {category}. price: {price}."
    assert sentences(RICH, fields) == ["Red & blue. brand: A. category: x, y. price: 1.5.", "",
                                       "Hat. brand: B. category: x. price: 2.0.", ""]
    assert sentences(RICH, text_fields(RICH, ["brand"])) == ["brand: A.", "", "brand: B.", ""]
    with pytest.raises(UsageError, match="unknown text field 'titel'; did you mean 'title'"):
        text_fields(RICH, ["titel"])


def test_items_without_text_share_their_codes_and_are_told_apart() -> None:
    tokeniser = Tokeniser.fit(RICH, **SETTINGS)
    assert tokeniser.codes.shape == (4, 3)
    assert torch.equal(tokeniser.codes[1, :2], tokeniser.codes[3, :2])
    assert tokeniser.codes[[1, 3], 2].tolist() == [0, 1]
    assert tokeniser.health.without_text == 2
    assert tokeniser.line.endswith("50.0% of the items share their codes, at most 2 one tuple; 50.0% have the text of "
                                   "another item; 2 items have no text")
    assert "by tf-idf and rk-means: codes used 3 of 3, 1 of 1;" in tokeniser.line  # fewer items than codes


def test_duplicate_texts_work() -> None:
    same = products(title=["Hat"] * 4)
    for quantiser in ("rk-means", "rq-vae"):
        codes = Tokeniser.fit(same, **{**SETTINGS, "quantiser": quantiser}).codes
        assert codes[:, -1].tolist() == [0, 1, 2, 3] and len(torch.unique(codes[:, :-1], dim=0)) == 1


def test_a_catalogue_without_any_text_is_refused() -> None:
    with pytest.raises(UsageError, match=r"no item of dataset 'random' has any text \(title\): .* tokens=PATH"):
        Tokeniser.fit(products(title=[None, "", " ", None]), **SETTINGS)
    with pytest.raises(UsageError, match="the text of the items cannot be used: empty vocabulary"):
        Tokeniser.fit(products(title=["?!", "...", None, "-"]), **{**SETTINGS, "fields": ["title"]})


def test_collisions_are_numbered_within_their_group() -> None:
    codes = np.array([[1, 1], [0, 2], [1, 1], [0, 3], [1, 1], [0, 2]])
    assert tell_apart(codes).tolist() == [[1, 1, 0], [0, 2, 0], [1, 1, 1], [0, 3, 0], [1, 1, 2], [0, 2, 1]]
    distinct = np.array([[1, 1], [0, 2]])
    assert tell_apart(distinct) is distinct


@given(st.integers(1, 5), st.integers(1, 5), st.integers(0, 99))
def test_last_codes_are_shared_out_at_the_least_distance(items: int, possible: int, seed: int) -> None:
    generator = np.random.default_rng(seed)
    distances = generator.random((2 * items, possible))
    codes = np.column_stack([np.repeat([7, 3], items), distances.argmin(1)])
    found = shared_out(codes, distances)
    assert np.array_equal(found[:, 0], codes[:, 0])
    for rows in (range(items), range(items, 2 * items)):
        last = found[rows, -1]
        if items <= possible:
            least = min(sum(distances[row, code] ** 2 for row, code in zip(rows, chosen, strict=True))
                        for chosen in permutations(range(possible), items))
            assert len(set(last)) == items
            assert (distances[rows, last] ** 2).sum() == pytest.approx(least)
        else:
            assert len(set(last)) == possible  # the others keep the nearest, and get one more code
    assert len(np.unique(tell_apart(found), axis=0)) == 2 * items


def test_a_tokeniser_that_shares_out_needs_no_code_more() -> None:
    for quantiser in ("rk-means", "rq-vae"):
        same = products(title=["one"] * 4)
        fitted = Tokeniser.fit(same, **{**SETTINGS, "quantiser": quantiser, "share_out": True})
        assert "the last codes shared out" in fitted.line and len(torch.unique(fitted.codes, dim=0)) == 4
    assert fitted.codes.shape == (4, 2)


def test_health_in_figures() -> None:
    health = Health.of(np.array([[0, 5], [0, 5], [1, 2], [3, 3]]), [4, 6])
    assert health.used == [3, 3] and health.collisions == 0.5 and health.largest_group == 2
    assert health.same_text == 0 and Health.of(np.zeros((5, 1)).astype(int), [5], list("aabca")).same_text == 0.6
    half, quarter = 0.5 * np.log(0.5), 0.25 * np.log(0.25)
    assert health.perplexity == pytest.approx([np.exp(-half - 2 * quarter)] * 2)
    health.require(0.5)
    with pytest.raises(UsageError, match="codebook of level 2 has collapsed: 3 of 6 codes are used, least_usage asks "
                                         "for 60%"):
        health.require(0.6)


def test_residual_k_means_explains_more_with_every_level() -> None:
    vectors = np.random.default_rng(0).normal(size=(200, 6)).astype(np.float32)
    left = []
    for levels in (1, 2, 3):
        codes, possible, distances = rk_means(vectors, 8, levels, seed=1)
        assert codes.shape == (200, levels) and possible == [8] * levels
        assert np.array_equal(distances.argmin(1), codes[:, -1])
        group = np.unique(codes, axis=0, return_inverse=True)[1].ravel()
        means = np.stack([np.bincount(group, column) / np.bincount(group) for column in vectors.T], 1)
        left.append(float(((vectors - means[group]) ** 2).sum()))
    assert left[0] > 1.5 * left[1] > 2 * left[2]
    assert np.array_equal(codes, rk_means(vectors, 8, 3, seed=1)[0])


def test_rq_vae_quantises_as_the_paper_says() -> None:
    torch.manual_seed(1)
    model = RQVAE(10, 8, 3)
    with torch.no_grad():
        model.codebooks.normal_()
    x = torch.randn(20, 10)
    loss, codes, _ = model.loss(x)
    latent, books = model.encoder(x).detach(), model.codebooks.detach()
    total = torch.zeros(())
    for row, z in enumerate(latent):
        residual, summed = z, torch.zeros(32)
        for level in range(3):
            book = books[level]
            code = min(range(8), key=lambda k: float(((residual - book[k]) ** 2).sum()))
            assert code == codes[row, level]
            total = total + (1 + 0.25) * ((residual - book[code]) ** 2).sum()
            residual, summed = residual - book[code], summed + book[code]
        total = total + ((x[row] - model.decoder(summed)) ** 2).sum()
    torch.testing.assert_close(loss, total / 20, rtol=1e-4, atol=1e-4)
    loss.backward()
    assert model.encoder[0].weight.grad.abs().sum() > 0  # straight through the choice of codes


def test_rq_vae_starts_from_k_means_and_revives_dead_codes() -> None:
    vectors = np.random.default_rng(0).normal(size=(300, 10)).astype(np.float32)
    codes, possible, distances = rq_vae(vectors, 16, 2, 1, 10, 0.1, torch.device("cpu"))
    assert np.array_equal(distances.argmin(1), codes[:, -1])
    health = Health.of(codes, possible)
    assert min(health.used) >= 12
    assert np.array_equal(codes, rq_vae(vectors, 16, 2, 1, 10, 0.1, torch.device("cpu"))[0])
    model = RQVAE(10, 4, 1)
    residuals = torch.randn(6, 1, 32)
    model.revive(torch.tensor([[True, False, True, False]]), residuals)
    assert all(bool((model.codebooks[0, code] == residuals[:, 0]).all(1).any()) for code in (1, 3))
    assert not model.codebooks[0, [0, 2]].any()


def test_the_artefact_survives_and_belongs_to_one_dataset(tmp_path: Path) -> None:
    tokeniser = Tokeniser.fit(RICH, **SETTINGS)
    (tmp_path / "tokeniser").mkdir()
    tokeniser.write(tmp_path / "tokeniser")
    assert sorted(path.name for path in (tmp_path / "tokeniser").iterdir()) == ["codes.safetensors", "tokeniser.json"]
    loaded = Tokeniser.load(tmp_path / "tokeniser")
    assert torch.equal(loaded.codes, tokeniser.codes) and loaded.line == tokeniser.line
    loaded.require_dataset(RICH)
    with pytest.raises(UsageError, match=r"this tokeniser was made for random \(\w+\), not for random \(\w+\): fit"):
        loaded.require_dataset(ragged(5))
    with pytest.raises(UsageError, match="no readable tokeniser in"):
        Tokeniser.load(tmp_path)


def test_sentence_transformers_where_they_are_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *rest: Any, **more: Any) -> Any:
        if name == "sentence_transformers":
            raise ImportError(name)
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(UsageError, match=r"embedding = 'sentence-transformers:st5' needs the package "
                                         r"sentence-transformers \(sentence_transformers\): pip install "
                                         r"'cpbench\[text\]'"):
        embed(["a"], "sentence-transformers:st5", 8, 0)
    with pytest.raises(UsageError, match="embedding = 'bert' is neither 'tf-idf' nor 'sentence-transformers:"):
        embed(["a"], "bert", 8, 0)


def test_similar_texts_get_similar_vectors() -> None:
    texts = [f"{colour} {thing}" for thing in ("nail polish", "face cream") for colour in ("red", "blue", "green")]
    for width in (3, 100):  # with and without the decomposition
        vectors = embed([*texts, ""], "tf-idf", width, 0)
        assert vectors.dtype == np.float32 and not vectors[-1].any()
        np.testing.assert_allclose(np.linalg.norm(vectors[:-1], axis=1), 1, rtol=1e-5)
        assert vectors[0] @ vectors[1] > vectors[0] @ vectors[4]


def test_published_ids(tmp_path: Path) -> None:
    index, numbers = tmp_path / "index.json.gz", tmp_path / "maps.json"
    rows = [["<a_1>", "<b_7>"], ["<a_0>", "<b_3>"], ["<a_1>", "<b_7>"], ["<a_1>", "<b_2>"]]
    index.write_bytes(gzip.compress(json.dumps(dict(enumerate(rows))).encode()))
    numbers.write_text(json.dumps({"item": {"1": "b", "2": "a", "3": "d", "4": "c"}}))
    tokeniser = read_index(RICH, index, numbers)  # a, b, c, d are numbers 1, 0, 3, 2
    assert tokeniser.codes.tolist() == [[0, 3, 0], [1, 7, 0], [1, 2, 0], [1, 7, 1]]
    assert tokeniser.fingerprint == RICH.fingerprint
    by_id = tmp_path / "ids.json"
    by_id.write_text(json.dumps({name: [number, 0] for number, name in enumerate("dcba")}))
    assert read_index(RICH, by_id).codes.tolist() == [[3, 0], [2, 0], [1, 0], [0, 0]]


@pytest.mark.parametrize(("content", "sentence"), [
    ('{"a": [1], "b": [2]}', r"has no codes for 2 of the 4 items of random \(c, d\); if they go by number"),
    ('{"a": [1], "b": [2, 3], "c": [1], "d": [1]}', "not every item has the same number of codes"),
    ('{"a": ["x"], "b": ["y"], "c": [1], "d": [1]}', "not every item has the same number of codes"),
    ("[1]", "holds no JSON object"), ("{", "cannot be read as JSON"),
])
def test_published_ids_that_cannot_be_used(tmp_path: Path, content: str, sentence: str) -> None:
    path = tmp_path / "index.json"
    path.write_text(content)
    with pytest.raises(UsageError, match=sentence):
        read_index(RICH, path)
