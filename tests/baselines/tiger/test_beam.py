import itertools

import pytest
import torch
from cpbench.baselines.tiger.beam import beam_search
from cpbench.baselines.tiger.model import TIGER
from cpbench.baselines.tiger.trie import Trie

from cpbench.errors import UsageError
from cpbench.models.base import Histories
from tests.baselines.tiger.small import built
from tests.random_data import ragged

HISTORIES = Histories.of_lists([[3, 1, 4], [5], [9, 2, 6, 5, 3, 5, 8, 9], [7, 7]])


@pytest.mark.parametrize("codes", [
    [[0, 0, 0]], [[2, 1], [0, 5], [2, 0], [2, 7], [1, 1], [0, 4]], [[3], [1], [2]],
    torch.unique(torch.randint(4, (60, 4), generator=torch.Generator().manual_seed(1)), dim=0).flip(0).tolist(),
], ids=["one item", "two levels", "one level", "random"])
def test_the_trie_holds_every_prefix_and_nothing_else(codes: list[list[int]]) -> None:
    trie = Trie(torch.tensor(codes))
    depth = len(codes[0])
    prefix_of = {0: ()}
    for level in range(depth):
        nodes = [node for node, prefix in prefix_of.items() if len(prefix) == level]
        child, real = trie.followers(torch.tensor(nodes), level)
        for node, row, kept in zip(nodes, child, real, strict=True):
            prefix = prefix_of[node]
            found = trie.code[row[kept]].tolist()
            assert found == sorted({item[level] for item in codes if tuple(item[:level]) == prefix})
            prefix_of |= {int(one): (*prefix, code) for one, code in zip(row[kept], found, strict=True)}
    assert len(prefix_of) == len(trie.code) == len({tuple(item[:level]) for item in codes
                                                    for level in range(depth + 1)})
    for node, prefix in prefix_of.items():
        first, last = trie.leaves[node].tolist()
        below = trie.items[first:last].tolist()
        assert sorted(below) == [number for number, item in enumerate(codes) if tuple(item[:len(prefix)]) == prefix]
        if len(prefix) == depth:
            assert [int(trie.item_of(torch.tensor(node)))] == below
    for item, path in zip(codes, trie.path.tolist(), strict=True):
        assert [prefix_of[node] for node in path] == [tuple(item[:level]) for level in range(depth + 1)]


def exhaustively(model: TIGER, history: list[int]) -> torch.Tensor:
    """log p of every item, [N]: its codes read by the decoder one item at a time, no trie, no beam, no cache."""
    scores = []
    history = history[-model.max_length:]
    memory = model._read(torch.tensor([history]), torch.tensor([len(history)]))
    for codes in model.codes:
        states, _ = model.network.decode(model.network.tokens(codes[:-1])[None, None], memory)
        scores.append(sum(torch.log_softmax(logits_slowly(model, states[0, 0, place], codes[:place].tolist()), -1)[code]
                          for place, code in enumerate(codes)))
    return torch.stack(scores)


def logits_slowly(model: TIGER, state: torch.Tensor, prefix: list[int]) -> torch.Tensor:
    """Of the codes after `prefix`; under `existing`, -inf for those that lead nowhere."""
    place = len(prefix)
    logits = model.network.logits(state, place)
    if model.config.existing:
        follow = {row[place] for row in model.codes.tolist() if row[:place] == prefix}
        logits[[code for code in range(len(logits)) if code not in follow]] = -torch.inf
    return logits


def lists_of(histories: Histories) -> list[list[int]]:
    return [histories.items[a:b].tolist() for a, b in itertools.pairwise(histories.offsets.tolist())]


@torch.no_grad()
@pytest.mark.parametrize("existing", [False, True])
def test_a_beam_as_wide_as_the_catalogue_scores_everything_exactly(existing: bool) -> None:
    model = built(existing=existing)
    assert model.codes.shape[1] == 3  # two levels and one that tells apart
    slow = torch.stack([exhaustively(model, history) for history in lists_of(HISTORIES)])
    torch.testing.assert_close(model.score(HISTORIES), slow, rtol=1e-4, atol=1e-4)
    if existing:  # items share all of the probability
        torch.testing.assert_close(slow.exp().sum(1), torch.ones(4), rtol=1e-4, atol=1e-4)
    for exclude_seen in (False, True):
        shown = slow.masked_fill(HISTORIES.seen(30), -torch.inf) if exclude_seen else slow
        ids, scores = model.recommend(HISTORIES, 20, exclude_seen=exclude_seen)
        assert torch.equal(ids, shown.topk(20, dim=1).indices)
        torch.testing.assert_close(scores, shown.topk(20, dim=1).values, rtol=1e-4, atol=1e-4)


def beam_slowly(model: TIGER, history: list[int], beam: int, hidden: set[int]) -> list[tuple[float, int]]:
    """The textbook's beam search with a Python prefix function, one beam at a time, everything decoded anew."""
    memory = model._read(torch.tensor([history]), torch.tensor([len(history)]))
    codes = {tuple(row): number for number, row in enumerate(model.codes.tolist()) if number not in hidden}
    beams: list[tuple[float, tuple[int, ...]]] = [(0.0, ())]
    for place in range(model.codes.shape[1]):
        grown = []
        for score, prefix in beams:
            tokens = model.network.tokens(torch.tensor([[list(prefix)]], dtype=torch.int64))
            states, _ = model.network.decode(tokens, memory)
            gained = torch.log_softmax(model.network.logits(states[0, 0, -1], place), -1)
            grown += [(score + float(gained[code]), (*prefix, code))
                      for code in sorted({item[place] for item in codes if item[:place] == prefix})]
        beams = sorted(grown, reverse=True)[:beam]
    return [(score, codes[prefix]) for score, prefix in beams]


@torch.no_grad()
@pytest.mark.parametrize("hide", [False, True])
def test_a_narrow_beam_is_the_textbook_s(hide: bool) -> None:
    model = built(ragged(40, n_items=60), codes=5)
    hidden = torch.zeros(len(HISTORIES), 60, dtype=torch.bool)
    if hide:
        hidden[:, ::2] = True
        hidden[0] = model.codes[:, 0] == model.codes[3, 0]  # all that begins with one code
        hidden[3, 4:] = True  # only four are left
    batch = HISTORIES.padded(model.max_length)
    memory = model._read(batch.items, batch.lengths)
    ids, scores = beam_search(model.network, model.trie, memory, 7, model.trie.allowed(hidden) if hide else None)
    for row, history in enumerate(lists_of(HISTORIES)):
        slow = beam_slowly(model, history[-model.max_length:], 7, set(hidden[row].nonzero()[:, 0].tolist()))
        found = torch.isfinite(scores[row])
        assert ids[row][found].tolist() == [item for _, item in slow]
        assert scores[row][found].tolist() == pytest.approx([score for score, _ in slow], abs=1e-4)
        assert int(found.sum()) == min(7, int((~hidden[row]).sum()))


@torch.no_grad()
def test_every_list_holds_k_distinct_items() -> None:
    model = built(ragged(40, n_items=60), beam=10)
    hidden = torch.rand(len(HISTORIES), 60, generator=torch.Generator().manual_seed(1)) < 0.9
    hidden[1] = True
    ids, scores = model.search(HISTORIES, 10, hidden)
    assert all(len(set(row)) == 10 and set(row) <= set(range(60)) for row in ids.tolist())
    assert torch.equal(torch.isneginf(scores), hidden.gather(1, ids))
    left = (~hidden).sum(1).clamp(max=10)
    assert torch.isfinite(scores).sum(1).tolist() == left.tolist()


def test_a_list_longer_than_the_beam_is_refused() -> None:
    model = built(ragged(40, n_items=60), beam=10)
    with pytest.raises(UsageError, match="k = 11 exceeds the beam of 10: set beam=11"):
        model.recommend(HISTORIES, 11)
    with pytest.raises(UsageError, match=r"k = 61 is outside 1\.\.60, the size of the catalogue"):
        model.recommend(HISTORIES, 61)


@torch.no_grad()
def test_an_empty_history_gets_popularity() -> None:
    model = built()
    histories = Histories.of_lists([[], [3, 1]])
    assert torch.equal(model.score(histories)[0], model.popularity)
    ids, _ = model.recommend(histories, 30)
    assert ids[0].tolist() == torch.sort(model.popularity, descending=True, stable=True).indices.tolist()
