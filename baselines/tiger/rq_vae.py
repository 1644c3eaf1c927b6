"""RQ-VAE: an autoencoder whose bottleneck is a sum of one vector from each of m codebooks (TIGER, section 3.1).

x -> encoder z -> r_0 = z; c_d = argmin_k |r_d - e_k|; r_(d+1) = r_d - e_(c_d) -> sum of the e -> decoder -> x'
loss = |x - x'|^2 + sum over d of |sg(r_d) - e|^2 + commitment * |r_d - sg(e)|^2, gradients straight through.

Codebooks start from k-means on the first batch. A code that nothing chose for an epoch is moved onto a residual of that
level (not in the paper, which reports at least 80 % of the codes used; without it codes die one after another).
"""

from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn

HIDDEN = (512, 256, 128)
LATENT = 32
COMMITMENT = 0.25
BATCH = 1024


class RQVAE(nn.Module):
    """Vectors of width W -> `levels` codes each, out of `codes`."""

    def __init__(self, width: int, codes: int, levels: int) -> None:
        super().__init__()
        self.encoder = _layers([width, *HIDDEN, LATENT])
        self.decoder = _layers([LATENT, *reversed(HIDDEN), width])
        self.codebooks = nn.Parameter(torch.zeros(levels, codes, LATENT))

    def quantise(self, latent: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """latent [T, 32] -> codes int64 [T, levels], residuals before each level [T, levels, 32], vectors likewise."""
        residual, found, residuals, vectors = latent, [], [], []
        for book in self.codebooks:
            code = torch.cdist(residual.detach(), book.detach()).argmin(1)
            found.append(code)
            residuals.append(residual)
            vectors.append(book[code])
            residual = residual - vectors[-1].detach()
        return torch.stack(found, 1), torch.stack(residuals, 1), torch.stack(vectors, 1)

    def loss(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The loss of x [T, W]; the codes and residuals, as `quantise` gives them."""
        latent = self.encoder(x)
        codes, residuals, vectors = self.quantise(latent)
        through = latent + (vectors.sum(1) - latent).detach()
        reconstruction = (x - self.decoder(through)).square().sum(1).mean()
        codebook = (residuals.detach() - vectors).square().sum((1, 2)).mean()
        commitment = (residuals - vectors.detach()).square().sum((1, 2)).mean()
        return reconstruction + codebook + COMMITMENT * commitment, codes, residuals.detach()

    @torch.no_grad()
    def start(self, x: Tensor, seed: int) -> None:
        """Codebooks from k-means on the residuals of x [T, W]."""
        from sklearn.cluster import KMeans

        residual = self.encoder(x).double().cpu().numpy()
        for level, book in enumerate(self.codebooks):
            clusters = min(len(book), len(np.unique(residual.round(6), axis=0)))
            means = KMeans(clusters, n_init=1, random_state=seed + level).fit(residual)
            book[:clusters] = torch.from_numpy(means.cluster_centers_).to(book)
            book[clusters:] = book[0] + 1e3  # fewer distinct residuals than codes: out of reach until revived
            residual = residual - means.cluster_centers_[means.labels_]

    @torch.no_grad()
    def revive(self, used: Tensor, residuals: Tensor) -> None:
        """Move codes that are not `used` (bool [levels, codes]) onto random ones of `residuals` [T, levels, 32]."""
        for level, book in enumerate(self.codebooks):
            dead = (~used[level]).nonzero()[:, 0]
            chosen = torch.randint(len(residuals), (len(dead),))
            book[dead] = residuals[chosen.to(residuals.device), level]


def rq_vae(vectors: np.ndarray, codes: int, levels: int, seed: int, epochs: int, learning_rate: float,
           device: torch.device) -> tuple[np.ndarray, list[int], np.ndarray]:
    """Codes int64 [N, levels] of vectors float32 [N, W]; of every level how many codes could have been used; how far
    each item is from each code of the last level [N, codes].

    Trained by Adagrad, as in the paper. Deterministic given `seed`, on one device.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        x = torch.from_numpy(vectors)
        model = RQVAE(x.shape[1], codes, levels).to(device)
        x = x.to(device)
        model.start(x[torch.randperm(len(x))[:BATCH].to(device)], seed)
        # TensorFlow's and optax's start; with PyTorch's 0 the first steps are learning_rate long and kill every ReLU
        optimizer = torch.optim.Adagrad(model.parameters(), learning_rate, initial_accumulator_value=0.1)
        for epoch in range(epochs):
            used = torch.zeros(levels, codes, dtype=torch.bool, device=device)
            for rows in torch.randperm(len(x)).to(device).split(BATCH):
                optimizer.zero_grad(set_to_none=True)
                loss, found, residuals = model.loss(x[rows])
                loss.backward()
                optimizer.step()
                for level in range(levels):
                    used[level, found[:, level]] = True
            if epoch < epochs // 2:  # later, a code that was moved could not settle any more
                model.revive(used, residuals)
        with torch.no_grad():
            final, left, _ = model.quantise(model.encoder(x))
            distances = torch.cdist(left[:, -1], model.codebooks[-1])
    distinct = len(np.unique(vectors.round(6), axis=0))
    return final.cpu().numpy(), [min(codes, distinct)] * levels, distances.cpu().numpy()


def _layers(widths: list[int]) -> nn.Sequential:
    layers: list[nn.Module] = []
    for one, other in pairwise(widths):
        layers += [nn.Linear(one, other), nn.ReLU()]
    return nn.Sequential(*layers[:-1])
