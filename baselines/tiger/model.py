"""TIGER: recommender systems with generative retrieval (Rajput et al., NeurIPS 2023, https://arxiv.org/abs/2305.05065).

item text -> vectors -> residual quantisation -> semantic id, a few codes an item -> encoder over the codes of the last
20 items -> decoder that writes the codes of the next one -> beam search over the codes of existing items.

Chosen by us, or left out: a start token stands in the place of the user token, because no model here knows who the user
is (the paper's Beauty figure is the same without it); the beam is constrained to existing items by a trie (the paper
lets 0.1 to 1.6 % of its lists be invalid); the softmax of a position runs over that position's codes.
"""

from pathlib import Path
from typing import Literal, Self

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from cpbench.data.dataset import Dataset
from cpbench.data.protocol import Split
from cpbench.errors import UsageError
from cpbench.models.base import Facts, Histories, ModelConfig, NeuralRecommender, Sequences, best
from cpbench.models.layers import Grid

from .beam import beam_search
from .published import read_index
from .tokeniser import Tokeniser
from .transformer import Memory, Size, Transformer
from .trie import Trie

BEAMS_AT_ONCE = 4096  # of all users together: their cached keys and values are what takes memory
CHUNKS = 4  # of the prefixes of a batch, by length, so that short ones are not padded to the longest


class TIGERConfig(ModelConfig):
    """Defaults are small, for a CPU; the paper's values are in the recipe `paper`."""

    length: int = Field(20, ge=1)
    """Most recent items read (L)."""
    width: int = Field(64, ge=1)
    heads: int = Field(4, ge=1)
    head_width: int = Field(16, ge=1)
    feed_forward: int = Field(256, ge=1)
    layers: int = Field(4, ge=1)
    """Of the encoder, and again of the decoder."""
    dropout: float = Field(0.1, ge=0, lt=1)
    beam: int = Field(50, ge=10)
    """Items that a list can hold, and the width of the search; selection looks at ten."""
    prefixes: int = Field(1, ge=0)
    """Targets a step, per sequence of the batch: each needs an encoder pass over what is before it. 0: all of them."""
    causal: bool = True
    """The encoder sees no later item from an earlier one, so that one pass trains all targets of a sequence, and
    `prefixes` does not matter. Not in the paper; several times faster."""

    existing: bool = False
    """The softmax of a position runs over the codes that lead to an existing item, in training and in the search: what
    exists need not be learned. Not in the paper, whose softmax runs over all codes."""

    tokens: str = ""
    """Use stored semantic ids: the folder of a tokeniser, or a published index (.json, .json.gz). Empty: learn them."""
    token_items: str = ""
    """For an index that numbers its items: a JSON file with the number of each item id (S3-Rec's id_maps)."""
    fields: list[str] = []
    """Columns of the item table that make up the text; empty: all of them, the title first."""
    embedding: str = "tf-idf"
    """Or ``sentence-transformers:NAME``."""
    embedding_width: int = Field(128, ge=1)
    """Of tf-idf after its singular value decomposition."""
    quantiser: Literal["rk-means", "rq-vae"] = "rk-means"
    levels: int = Field(3, ge=1)
    codes: int = Field(256, ge=2)
    """In each codebook."""
    share_out: bool = False
    """Items with the same codes get different last ones, the nearest that are free, in the place of the paper's one
    code more. Not in the paper."""
    least_usage: float = Field(0.5, ge=0, le=1)
    """A codebook of which a smaller share is used has collapsed: an error."""
    rq_epochs: int = Field(2000, ge=1)
    """Of the RQ-VAE, which is the paper's quantiser."""
    rq_learning_rate: float = Field(0.4, gt=0)


class TIGER(NeuralRecommender):
    """Generative retrieval: a transformer writes the semantic id of the next item; ranked by its beam."""

    name = "tiger"
    Config = TIGERConfig
    config: TIGERConfig
    popularity: Tensor
    codes: Tensor
    trie: Trie

    def __init__(self, config: TIGERConfig, facts: Facts) -> None:
        super().__init__(config, facts)
        self.network = Transformer(Size(config.width, config.heads, config.head_width, config.feed_forward,
                                        config.layers, config.dropout))
        self.tokeniser: Tokeniser | None = None
        self.register_buffer("popularity", torch.zeros(facts.n_items))
        self.register_buffer("codes", torch.zeros(facts.n_items, 0, dtype=torch.int64))

    @property
    def information(self) -> list[str]:
        return ["categories", "text"]

    @property
    def max_length(self) -> int:
        return self.config.length

    @property
    def beam(self) -> int:
        return self.config.beam

    @property
    def remarks(self) -> list[str]:
        return [] if self.tokeniser is None else [self.tokeniser.line]

    # --- training

    def begin_training(self, split: Split) -> None:
        self.popularity.copy_(torch.from_numpy(split.train_counts))
        self.tokeniser = self._tokenise(split.dataset)
        self._take(self.tokeniser.codes)

    def _tokenise(self, dataset: Dataset) -> Tokeniser:
        config = self.config
        if config.tokens:
            path = Path(config.tokens).expanduser()
            if path.name.endswith((".json", ".json.gz")):
                numbers = Path(config.token_items).expanduser() if config.token_items else None
                return read_index(dataset, path, numbers)
            stored = Tokeniser.load(path)
            stored.require_dataset(dataset)
            return stored
        seed = int(torch.randint(2**31 - 1024, ()))
        return Tokeniser.fit(dataset, fields=config.fields, embedding=config.embedding, width=config.embedding_width,
                             quantiser=config.quantiser, codes=config.codes, levels=config.levels,
                             share_out=config.share_out, least_usage=config.least_usage, epochs=config.rq_epochs,
                             learning_rate=config.rq_learning_rate, seed=seed, device=self.device)

    def _take(self, codes: Tensor) -> None:
        """Use these semantic ids, int64 [N, T], with new vectors for them."""
        self.codes = codes.to(self.device)
        self.trie = Trie(self.codes)
        self.network.set_vocabulary((codes.max(0).values + 1).tolist())

    def training_loss(self, batch: Sequences) -> tuple[Tensor, dict[str, float]]:
        """The mean of -log p(semantic id) over targets, all of the batch drawn with the same probability."""
        if self.config.causal:
            return self._loss_in_one_pass(batch), {}
        targets = batch.lengths - 1
        rows = torch.repeat_interleave(torch.arange(len(targets), device=self.device), targets)
        ends = torch.arange(len(rows), device=self.device) - (targets.cumsum(0) - targets)[rows] + 1
        if self.config.prefixes:
            drawn = torch.randperm(len(rows), device=self.device)[:self.config.prefixes * len(targets)]
            rows, ends = rows[drawn], ends[drawn]
        order = ends.argsort(stable=True)
        parts = [self._total_loss(batch.items[rows[part]], ends[part]) for part in order.chunk(CHUNKS)]
        return torch.stack(parts).sum() / len(rows), {}

    def _total_loss(self, items: Tensor, ends: Tensor) -> Tensor:
        """-log p of items[m, ends[m]] after the items before it, summed over m; items [M, L], ends [M]."""
        target = items.gather(1, ends[:, None])  # [M, 1]
        memory = self._read(items[:, :int(ends.max())], ends)
        states, _ = self.network.decode(self.network.tokens(self.codes[target][..., :-1]), memory)
        return self._surprise(states[:, 0], target[:, 0])

    def _loss_in_one_pass(self, batch: Sequences) -> Tensor:
        """Every prefix of a sequence is what a beam is in generation: a row of the decoder over the same memory."""
        target, length = batch.items[:, 1:], self.codes.shape[1]  # [B, L - 1]
        memory = self._read(batch.items[:, :-1], batch.lengths - 1)
        place = torch.arange(memory.bias.shape[-1], device=self.device)
        prefix = torch.arange(1, target.shape[1] + 1, device=self.device).repeat_interleave(length)  # of each query
        later = torch.zeros(len(prefix), len(place), device=self.device).masked_fill(place > length * prefix[:, None],
                                                                                    -torch.inf)
        bias = later + self.network.recency_bias(length * prefix, len(place))
        grid = Grid(batch.real()[:, 1:])
        target = grid.pack(target)
        states, _ = self.network.decode(self.network.tokens(self.codes[target][:, :-1]),
                                        Memory(memory.keys_values, bias[None]), grid=grid)
        return self._surprise(states, target) / len(target)

    def _surprise(self, states: Tensor, target: Tensor) -> Tensor:
        """The sum of -log p of the codes of items target int64 [M], from the decoder's states [M, T, D]."""
        terms = []
        for place, code in enumerate(self.codes[target].T):
            logits = self.network.logits(states[:, place], place)
            if self.config.existing:
                child, real = self.trie.followers(self.trie.path[target, place], place)
                logits = logits.gather(1, self.trie.code[child]).masked_fill(~real, -torch.inf)
                code = self.trie.path[target, place + 1] - child[:, 0]  # its place among its siblings
            terms.append(F.cross_entropy(logits, code, reduction="sum"))
        return torch.stack(terms).sum()

    def _read(self, items: Tensor, lengths: Tensor) -> Memory:
        """Encode the first `lengths` [B] of items [B, L]."""
        tokens, length = self.network.tokens(self.codes[items]).flatten(1), self.codes.shape[1]
        return self.network.encode(tokens, lengths * length, length if self.config.causal else 0)

    # --- lists

    def search(self, histories: Histories, k: int, hidden: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """As for every model; raises UsageError when `k` exceeds the beam."""
        if k > self.beam:
            raise UsageError(f"k = {k} exceeds the beam of {self.beam}: set beam={k}")
        ids, scores = self._generate(histories, min(self.beam, self.facts.n_items), hidden)
        if hidden is not None and bool(torch.isneginf(scores).any()):  # where too few may be shown, hidden ones follow
            place = torch.isneginf(scores).cumsum(1) - 1
            filler = hidden.sort(dim=1, descending=True, stable=True).indices
            ids = torch.where(place >= 0, filler.gather(1, place.clamp(min=0)), ids)
        return ids[:, :k], scores[:, :k]

    def score(self, histories: Histories) -> Tensor:
        """The log-probability of every item (of the popular ones the count, after an empty history): a beam as wide as
        the catalogue. Exact, and slow where the catalogue is large."""
        ids, scores = self._generate(histories, self.facts.n_items, None)
        return torch.empty_like(scores).scatter_(1, ids, scores)

    def _generate(self, histories: Histories, beam: int, hidden: Tensor | None) -> tuple[Tensor, Tensor]:
        """The lists int64 [B, beam] and their scores; an empty history is answered by training popularity."""
        batch = histories.padded(self.max_length).to(self.device)
        allowed = None if hidden is None else self.trie.allowed(hidden.to(self.device))
        memory = self._read(batch.items, batch.lengths)
        step = max(1, BEAMS_AT_ONCE // beam)
        parts = [slice(first, first + step) for first in range(0, len(histories), step)]
        found = [beam_search(self.network, self.trie, memory.rows(part), beam,
                             None if allowed is None else allowed[part], self.config.existing) for part in parts]
        ids, scores = torch.cat([part[0] for part in found]).cpu(), torch.cat([part[1] for part in found]).cpu()
        empty = histories.lengths == 0
        if bool(empty.any()):
            popular = self.popularity.cpu().expand(len(histories), -1)
            usual = best(popular, beam, hidden)
            ids, scores = (torch.where(empty[:, None], other, own)
                           for other, own in zip(usual, (ids, scores), strict=True))
        return ids, scores

    # --- storing

    def load_tensors(self, tensors: dict[str, Tensor]) -> None:
        """Raises UsageError when the tensors were learned with other semantic ids than the model's tokeniser has."""
        codes = tensors["codes"]
        if self.tokeniser is not None and not torch.equal(codes, self.tokeniser.codes):
            raise UsageError("what was learned so far belongs to other semantic ids than these settings give now: "
                             "start again with --force")
        if not torch.equal(codes, self.codes.cpu()):
            self._take(codes)
        super().load_tensors(tensors)

    def write(self, folder: Path) -> None:
        super().write(folder)
        if self.tokeniser is not None:
            (folder / "tokeniser").mkdir()
            self.tokeniser.write(folder / "tokeniser")

    @classmethod
    def load(cls, folder: Path) -> Self:
        model = super().load(folder)
        model.tokeniser = Tokeniser.load(folder / "tokeniser")
        if not torch.equal(model.tokeniser.codes, model.codes):
            raise UsageError(f"the tokeniser in {folder / 'tokeniser'} ({model.tokeniser.dataset}) is not the one that "
                             "the model was trained with")
        return model
