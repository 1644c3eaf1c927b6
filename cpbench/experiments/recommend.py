"""What a recorded run recommends to chosen users, with and without conditions: the case study of the paper's Fig. 4."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Literal

import numpy as np
import polars as pl
import torch
from torch import Tensor

from cpbench.data.dataset import usual_attribute
from cpbench.data.protocol import Events, Split
from cpbench.errors import UsageError, unknown
from cpbench.evaluation.conditional import Obedient
from cpbench.evaluation.evaluate import scored_at_once
from cpbench.experiments.original_ids import no_such, positions
from cpbench.experiments.stored import StoredRun
from cpbench.models.base import Facts, Histories, best
from cpbench.models.conditions import Conditions, condition_names, facts_with_conditions

How = Literal["none", "model", "filtered"]
"""How a list obeys: it was asked for nothing; in the model's own way; the best-scored of the items that carry it."""
Basis = Literal["test event", "last interaction", "given history"]
"""When the lists were made: at the user's test event; after all that he did; for a history that was typed in."""
LENGTH = 10
RECENT = 10
"""Interactions of a history that are shown."""
FEW = 30
"""Up to so many values are all listed in an error."""
HOUR = 3600


@dataclass(frozen=True)
class Item:
    """An item by its original id; no title is None; `values` by attribute."""

    id: str
    title: str | None
    values: dict[str, list[str]]


@dataclass(frozen=True)
class Interaction(Item):
    time: str | None
    """ISO 8601, UTC; None in a history that was typed in."""


@dataclass(frozen=True)
class Recommended(Item):
    score: float
    lists: int = 1
    """In how many of the user's lists the item occurs."""


@dataclass(frozen=True)
class RecommendedList:
    """Best first; shorter than `asked` where not enough items may be shown."""

    condition: str | None
    """``attribute=value``; None: unconditioned."""
    attribute: str | None
    how: How
    matching: int | None
    """How many of the items carry the condition."""
    asked: int
    items: list[Recommended]


@dataclass(frozen=True)
class Case:
    """One user (None: a history that was typed in)."""

    user: str | None
    basis: Basis
    history_length: int
    history: list[Interaction]
    """The most recent ones, oldest first."""
    shared: int
    """Items that occur in more than one list."""
    lists: list[RecommendedList]


@dataclass(frozen=True)
class Wish:
    """A condition that was asked for, and whether the model was trained to obey it."""

    conditions: Conditions
    value: int
    taught: bool

    @property
    def name(self) -> str:
        return f"{self.conditions.name}={self.conditions.names[self.value]}"


def recommend(run: StoredRun, users: Sequence[str] = (), history: Sequence[str] | None = None,
              conditions: Sequence[str] = (), k: int | None = None) -> list[Case]:
    """A case for each of `users`, or for the one `history` of items (original ids); lists of k (default: 10) items.

    The first list of a case is unconditioned, then comes one for each of `conditions` (``attribute=value``).
    Raises UsageError for anything that these data do not know, and for k outside 1..N.
    """
    dataset = run.split.dataset
    if k is not None and not 1 <= k <= dataset.n_items:
        raise UsageError(f"k = {k} is outside 1..{dataset.n_items}, the size of the catalogue")
    if (history is None) == (not users):
        raise UsageError("give either users or a history")
    facts = facts_with_conditions(run.split)
    trained = run.record.protocol.condition if run.record.obeys == "model" else None
    wishes = list({wish.name: wish for wish in (_wish(text, facts, trained) for text in conditions)}.values())
    lister = _Lister(run, facts, wishes, min(LENGTH, dataset.n_items) if k is None else k)
    if history is not None:
        items = positions("item", history, dataset.item_table["id"])
        return lister.cases(_typed(items, int(dataset.times.max())), [None], ["given history"])
    names = list(dict.fromkeys(users))
    events, tested = _requests(run.split, np.array(positions("user", names, dataset.user_ids), dtype=np.int64))
    block = scored_at_once(dataset.n_items)
    cases = []
    for first in range(0, len(names), block):
        last = min(first + block, len(names))
        bases: list[Basis] = ["test event" if each else "last interaction" for each in tested[first:last]]
        cases += lister.cases(Histories.of_events(dataset, events, first, last), names[first:last], bases)
    return cases


def _wish(text: str, facts: Facts, trained: str | None) -> Wish:
    attribute, equals, value = (part.strip() for part in text.partition("="))
    if not (equals and attribute and value):
        raise UsageError(f"--condition {text!r} is not ATTRIBUTE=VALUE, as in genre=Comedy; attributes here: "
                         f"{', '.join(sorted(condition_names(facts)))}")
    if attribute not in condition_names(facts):
        raise unknown("condition", attribute, condition_names(facts))
    conditions = Conditions(facts, attribute)
    names = conditions.names
    found = conditions.find(value)
    if found is None:
        raise unknown(attribute, value, names) if len(names) <= FEW else no_such(attribute, value, pl.Series(names))
    if not conditions.by_age and not bool(conditions.member[:, found].any()):
        raise UsageError(f"no item carries {attribute}={names[found]}")
    return Wish(conditions, found, attribute == trained)


def _requests(part: Split, users: np.ndarray) -> tuple[Events, np.ndarray]:
    """The (first) test event of each user int64 [B], and whether he has one, bool [B].

    A user without one has all of his interactions as history, and the request is made at the time of the last.
    """
    place = np.minimum(np.searchsorted(part.test.users, users), len(part.test) - 1)
    tested = part.test.users[place] == users
    start, whole = part.dataset.offsets[users], part.dataset.offsets[users + 1]
    end = np.where(tested, part.test.end[place], whole)
    return Events(users, start, end, np.where(tested, part.test.target[place], whole - 1)), tested


def _typed(items: list[int], now: int) -> Histories:
    """A history without times: an hour apart, and the request comes an hour after the last, when the data end."""
    times = [now - HOUR * step for step in range(len(items), 0, -1)]
    return replace(Histories.of_lists([items], [times]), request_times=torch.tensor([now]))


class _Lister:
    """Makes the cases of one run under the same wishes."""

    def __init__(self, run: StoredRun, facts: Facts, wishes: list[Wish], k: int) -> None:
        self.run, self.wishes, self.k = run, wishes, k
        table = run.split.dataset.item_table
        self.ids, self.titles = table["id"].cast(pl.String), table["title"].cast(pl.String)
        self.n_items = table.height
        usual = run.record.protocol.condition or usual_attribute(run.split.dataset.attribute_names)
        self.shown = {usual: Conditions(facts, usual)} if usual is not None else {}
        self.shown |= {wish.conditions.name: wish.conditions for wish in wishes}

    def cases(self, histories: Histories, names: Sequence[str | None], bases: Sequence[Basis]) -> list[Case]:
        """One case for each of the B histories."""
        run, times = self.run, histories.request_times
        assert times is not None
        if isinstance(run.model, torch.nn.Module):
            run.model.eval()
        nothing = torch.zeros(len(histories), self.n_items, dtype=torch.bool)
        excluded = histories.seen(self.n_items) if run.split.protocol.exclude_seen else nothing
        with torch.inference_mode():
            lists = [self._lists(None, "none", run.model.search(histories, self.k, excluded), times)]
            for wish in self.wishes:
                values = torch.full((len(histories),), wish.value)
                if wish.taught:
                    assert isinstance(run.model, Obedient)
                    found = best(run.model.score_given(histories, values, times), self.k, excluded)
                    lists.append(self._lists(wish, "model", found, times))
                else:
                    others = ~wish.conditions.carriers(values, times)
                    found = run.model.search(histories, self.k, excluded | others)
                    lists.append(self._lists(wish, "filtered", found, times))
        return [self._case(histories, row, names[row], bases[row], [each[row] for each in lists])
                for row in range(len(histories))]

    def _lists(self, wish: Wish | None, how: How, found: tuple[Tensor, Tensor], times: Tensor) -> list[RecommendedList]:
        """One list for each row of the best items int64 [B, k] and their scores; -inf is not shown."""
        made = []
        for row, (ids, values) in enumerate(zip(found[0].cpu(), found[1].cpu(), strict=True)):
            ids, values = ids[~torch.isneginf(values)], values[~torch.isneginf(values)]
            items = [Recommended(**vars(item), score=score)
                     for item, score in zip(self._items(ids, times[row]), values.tolist(), strict=True)]
            if wish is None:
                made.append(RecommendedList(None, None, how, None, self.k, items))
            else:
                matching = int(wish.conditions.carries(ids, torch.tensor(wish.value), times[row]).sum())
                made.append(RecommendedList(wish.name, wish.conditions.name, how, matching, self.k, items))
        return made

    def _case(self, histories: Histories, row: int, name: str | None, basis: Basis, lists: list[RecommendedList]
              ) -> Case:
        assert histories.request_times is not None
        begin, end = int(histories.offsets[row]), int(histories.offsets[row + 1])
        recent = slice(max(begin, end - RECENT), end)
        items = self._items(histories.items[recent], histories.request_times[row])
        when = [None if basis == "given history" else datetime.fromtimestamp(second, UTC).isoformat()
                for second in histories.times[recent].tolist()]
        history = [Interaction(**vars(item), time=time) for item, time in zip(items, when, strict=True)]
        occurs = Counter(item.id for each in lists for item in each.items)
        counted = [replace(each, items=[replace(item, lists=occurs[item.id]) for item in each.items])
                   for each in lists]
        return Case(name, basis, end - begin, history, sum(count > 1 for count in occurs.values()), counted)

    def _items(self, ids: Tensor, time: Tensor) -> list[Item]:
        """The items int64 [n] as they are shown at `time`, a scalar (their freshness depends on it)."""
        values: list[dict[str, list[str]]] = [{} for _ in range(len(ids))]
        for name, conditions in self.shown.items():
            carried = conditions.carries(ids[:, None], torch.arange(len(conditions)), time)
            for row, cell in enumerate(carried.numpy()):
                values[row][name] = [conditions.names[value] for value in np.flatnonzero(cell)]
        return [Item(self.ids[place], (self.titles[place] or "").strip() or None, each)
                for place, each in zip(ids.tolist(), values, strict=True)]
