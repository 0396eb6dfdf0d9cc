"""What an example's nearest neighbours say of it: how well features tell apart, with no training.

Of 23 scores that rank pretrained networks, over 42,000 experiments, this one was best (Sorkhei et
al. 2025, arXiv:2503.18528). Neighbours count as in DINO's classifier (Caron et al. 2021,
arXiv:2104.14294): 20 of them, each by the exponential of its cosine over 0.07.
"""

from __future__ import annotations

import numpy as np

_NEIGHBOURS, _TEMPERATURE = 20, 0.07


def said(products: np.ndarray, targets: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """(examples, outputs): the mean of what each example's neighbours are, itself left out.

    Args:
        products: (examples, examples) of features, their mean taken off.
        targets: (examples, outputs).
        weights: (examples,), 0 for those without an answer, which are nobody's neighbours.
    """
    length = np.sqrt(np.maximum(np.diag(products), 1e-30))
    cosines = products / length / length[:, None]
    cosines[:, weights <= 0] = -np.inf
    np.fill_diagonal(cosines, -np.inf)
    count = min(_NEIGHBOURS, int((weights > 0).sum()) - 1)
    if count < 1:
        return np.tile(targets.mean(axis=0), (len(targets), 1))
    nearest = np.argpartition(-cosines, count - 1, axis=1)[:, :count]
    near = np.take_along_axis(cosines, nearest, axis=1)
    much = np.exp((near - near.max(axis=1, keepdims=True)) / _TEMPERATURE)
    much /= much.sum(axis=1, keepdims=True)
    found: np.ndarray = np.einsum("ij,ijk->ik", much, targets[nearest])
    return found
