"""Beam search over the trie: for all users and beams at once, decoder keys and values cached, only existing items."""

import torch
from torch import Tensor

from .transformer import Memory, Transformer
from .trie import Trie


def beam_search(network: Transformer, trie: Trie, memory: Memory, beam: int, allowed: Tensor | None = None,
                existing: bool = False) -> tuple[Tensor, Tensor]:
    """Items int64 [B, beam] and their log-probabilities, best first; beam <= N.

    `existing`: each softmax runs over the codes that lead to an item, instead of over all of its position.

    `allowed` (Trie.allowed) counts what may be shown; a prefix below which nothing is left is never followed, so that
    no place of the beam is lost to it. Where fewer than `beam` items may be shown, the last places have -inf.
    """
    users = len(memory.bias)
    nodes = torch.zeros(users, 1, dtype=torch.int64, device=memory.bias.device)
    scores = torch.zeros(users, 1, device=memory.bias.device)
    tokens, cache = None, None
    for depth in range(trie.depth):
        states, cache = network.decode(tokens, memory, cache)
        logits = network.logits(states[:, :, -1], depth)  # [B, W, codes]
        child, real = trie.followers(nodes, depth)  # [B, W, widest]
        code = trie.code[child]
        if existing:
            gained = torch.log_softmax(logits.gather(-1, code).masked_fill(~real, -torch.inf), -1)
        else:
            gained = torch.log_softmax(logits, -1).gather(-1, code)
        reached = scores[..., None] + gained
        if allowed is not None:
            below = trie.leaves[child].flatten(1, 2)  # [B, W * widest, 2]
            left = (allowed.gather(1, below[..., 1]) - allowed.gather(1, below[..., 0])).view_as(child)
            real = real & (left > 0)
        reached = reached.masked_fill(~real, -torch.inf).flatten(1)
        scores, chosen = reached.topk(min(beam, reached.shape[1]), 1)
        nodes, code = child.flatten(1).gather(1, chosen), code.flatten(1).gather(1, chosen)
        parent = chosen // child.shape[2]
        if depth + 1 < trie.depth:
            row = torch.arange(users, device=nodes.device)[:, None]
            cache = [(key[row, parent], value[row, parent]) for key, value in cache]
            tokens = code[..., None] + sum(network.sizes[:depth])
    return trie.item_of(nodes), scores
