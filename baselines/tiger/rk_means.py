"""Residual k-means: cluster the vectors, then what the centres leave over, level by level."""

import numpy as np


def rk_means(vectors: np.ndarray, codes: int, levels: int, seed: int) -> tuple[np.ndarray, list[int], np.ndarray]:
    """Codes int64 [N, levels] of vectors float32 [N, W]; of every level how many codes could have been used; how far
    each item is from each code of the last level [N, codes].

    A level has at most as many clusters as there are distinct residuals.
    """
    from sklearn.cluster import KMeans

    residual = vectors.astype(np.float64)
    found, possible = np.empty((len(vectors), levels), dtype=np.int64), []
    for level in range(levels):
        # rounded: after a perfect level the residuals are zero but for the last bits
        distinct = len(np.unique(residual.round(6), axis=0))
        clusters = min(codes, distinct)
        means = KMeans(clusters, n_init=1, random_state=seed + level).fit(residual)
        found[:, level] = means.labels_
        distances = means.transform(residual)
        residual = residual - means.cluster_centers_[means.labels_]
        possible.append(clusters)
    return found, possible, distances
