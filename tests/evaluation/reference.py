"""Plain Python, one number at a time: what the vectorised evaluation must agree with."""

import math
from collections import Counter
from itertools import combinations


def rank(scores: list[float], target: int, excluded: set[int]) -> float:
    """1 + #better + #equal / 2 among the items that may be shown; infinity when the target may not."""
    if target in excluded:
        return math.inf
    better = equal = 0
    for item, score in enumerate(scores):
        if item in excluded or item == target:
            continue
        better += score > scores[target]
        equal += score == scores[target]
    return 1 + better + equal / 2


def hit_rate(ranks: list[float], k: int) -> float:
    return sum(1 for rank in ranks if rank <= k) / len(ranks)


def ndcg(ranks: list[float], k: int) -> float:
    return sum(1 / math.log2(rank + 1) for rank in ranks if rank <= k) / len(ranks)


def mrr(ranks: list[float]) -> float:
    return sum(0 if math.isinf(rank) else 1 / rank for rank in ranks) / len(ranks)


def coverage(lists: list[list[int]], n_items: int) -> float:
    return len({item for row in lists for item in row}) / n_items


def gini(lists: list[list[int]], n_items: int) -> float:
    """Half the relative mean absolute difference of exposures, over all pairs of items."""
    shown = Counter(item for row in lists for item in row)
    exposure = [shown[item] for item in range(n_items)]
    difference = sum(abs(one - other) for one in exposure for other in exposure)
    return difference / (2 * n_items * sum(exposure))


def novelty(lists: list[list[int]], counts: list[int]) -> float:
    total = sum(count + 1 for count in counts)
    bits = [-math.log2((counts[item] + 1) / total) for row in lists for item in row]
    return sum(bits) / len(bits)


def diversity(lists: list[list[int]], values: list[set[int]]) -> float:
    """Mean over lists of the mean over item pairs of 1 - Jaccard; two items without any value are unlike."""
    means = []
    for row in lists:
        distances = []
        for one, other in combinations(row, 2):
            union = values[one] | values[other]
            distances.append(1 - len(values[one] & values[other]) / len(union) if union else 1.0)
        means.append(sum(distances) / len(distances))
    return sum(means) / len(means)
