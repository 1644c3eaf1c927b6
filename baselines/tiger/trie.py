"""The prefix trie of the catalogue as flat arrays: what may follow a prefix is a gather, for all beams at once.

Nodes are numbered by depth, and within a depth by their codes, so that the children of a node are neighbours. The root
is node 0; a leaf is an item.
"""

import torch
from torch import Tensor, nn


class Trie(nn.Module):
    """Of codes int64 [N, T], distinct rows.

    first_child int64 [inner nodes + 1]: node n has the children ``first_child[n] .. first_child[n + 1] - 1``.
    code int64 [nodes]: the code that leads to a node. leaves int64 [nodes, 2]: the leaves below it, first and last + 1,
    counted in the order of `items` int64 [N], the items sorted by their codes. path int64 [N, T + 1]: the nodes
    from the root to each item.
    """

    first_child: Tensor
    code: Tensor
    leaves: Tensor
    items: Tensor
    path: Tensor

    def __init__(self, codes: Tensor) -> None:
        super().__init__()
        n_items, self.depth = codes.shape
        items = torch.arange(n_items, device=codes.device)
        for level in reversed(range(self.depth)):  # stable sorts by the last code first: in the end by all, in order
            items = items[torch.sort(codes[items, level], stable=True).indices]
        ordered = codes[items]
        differs = torch.ones(n_items, self.depth + 1, dtype=torch.bool, device=codes.device)
        differs[1:, 0] = False
        differs[1:, 1:] = (ordered[1:] != ordered[:-1]).cumsum(1) > 0
        starts = [differs[:, depth].nonzero()[:, 0] for depth in range(self.depth + 1)]  # the first leaf of each node
        sizes = [len(start) for start in starts]
        first = [torch.searchsorted(starts[depth + 1], starts[depth]) + sum(sizes[:depth + 1])
                 for depth in range(self.depth)]
        ends = [torch.cat([start[1:], start.new_tensor([n_items])]) for start in starts]
        code = [ordered[starts[depth], max(depth - 1, 0)] for depth in range(self.depth + 1)]
        self.register_buffer("first_child", torch.cat([*first, items.new_tensor([sum(sizes)])]), persistent=False)
        self.register_buffer("code", torch.cat(code), persistent=False)
        self.register_buffer("leaves", torch.stack([torch.cat(starts), torch.cat(ends)], 1), persistent=False)
        self.register_buffer("items", items, persistent=False)
        place = items.argsort()  # of each item among the leaves
        nodes = [torch.searchsorted(starts[depth], place, right=True) - 1 + sum(sizes[:depth])
                 for depth in range(self.depth + 1)]
        self.register_buffer("path", torch.stack(nodes, 1), persistent=False)
        counts = self.first_child.diff()
        self.widest = [int(part.max()) for part in counts.split(sizes[:-1])]
        """Of every depth: how many children a node has at most."""

    def followers(self, nodes: Tensor, depth: int) -> tuple[Tensor, Tensor]:
        """The children of inner nodes [...] of one depth: int64 [..., widest], and which of these cells are real."""
        first = self.first_child[nodes][..., None]
        child = first + torch.arange(self.widest[depth], device=nodes.device)
        real = child < self.first_child[nodes + 1][..., None]
        return torch.where(real, child, first), real

    def item_of(self, leaves: Tensor) -> Tensor:
        """The items of leaf nodes, int64 of the same shape."""
        return self.items[leaves - (len(self.code) - len(self.items))]

    def allowed(self, hidden: Tensor) -> Tensor:
        """How many items that are not `hidden` (bool [B, N]) come before each leaf, int64 [B, N + 1]."""
        return nn.functional.pad((~hidden[:, self.items]).cumsum(1), (1, 0))
