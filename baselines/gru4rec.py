"""GRU4Rec: recurrent networks with softmax or sampled losses (Hidasi & Karatzoglou, CIKM 2018,
https://arxiv.org/abs/1706.03847; Hidasi et al., ICLR 2016).

item vectors -> dropout -> GRU layers, dropout after each -> inner product with the item vectors
-> loss at every position.

Input and output share the item vectors (the authors' "constrained embedding"). Their session-parallel batches exist to
carry states across batches of long sessions; here a batch holds whole sequences, so every state starts from zero and
backpropagation is not cut. Negatives are drawn for the batch, as theirs are. Left out: their bias per item, their
popularity-shaped sampling with its correction, the other targets of the batch as negatives, and Adagrad.
"""

import torch
from pydantic import Field
from torch import Tensor, nn

from cpbench.models.base import Facts, Sequences
from cpbench.models.layers import Dropout
from cpbench.models.next_item import NextItemConfig, NextItemModel


class GRU4RecConfig(NextItemConfig):
    """Each recipe states its source."""

    width: int = Field(64, ge=1)
    """Of item vectors and of the hidden state."""
    layers: int = Field(1, ge=1)
    embedding_dropout: float = Field(0.2, ge=0, lt=1)
    """On the item vectors that are read (dropout_p_embed), not on those that are scored."""
    hidden_dropout: float = Field(0.2, ge=0, lt=1)
    """On what each layer gives to the next, and the last one to the scores (dropout_p_hidden: theirs drops the carried
    state, too)."""


class GRU4Rec(NextItemModel):
    """A gated recurrent network over the last `length` items; a later state never changes an earlier one."""

    name = "gru4rec"
    Config = GRU4RecConfig
    config: GRU4RecConfig

    def __init__(self, config: GRU4RecConfig, facts: Facts) -> None:
        super().__init__(config, facts)
        self.items = nn.Embedding(facts.n_items, config.width)
        self.embedding_dropout = Dropout(config.embedding_dropout)
        self.layers = nn.ModuleList(nn.GRU(config.width, config.width, batch_first=True) for _ in range(config.layers))
        self.hidden_dropout = Dropout(config.hidden_dropout)
        nn.init.xavier_uniform_(self.items.weight)
        for layer in self.layers:
            for name, parameter in layer.named_parameters():
                if name.startswith("bias"):
                    nn.init.zeros_(parameter)
                else:  # three square matrices, one under the other
                    for matrix in parameter.chunk(3):
                        nn.init.xavier_uniform_(matrix)

    def item_matrix(self) -> Tensor:
        return self.items.weight

    def hidden(self, batch: Sequences) -> Tensor:
        x = self.embedding_dropout(self.items(batch.items))
        with torch.autocast(x.device.type, enabled=False):  # a state passes L steps: bfloat16 would round at each
            for layer in self.layers:
                x = self.hidden_dropout(layer(x.float())[0])
        return x
