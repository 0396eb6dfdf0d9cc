"""How alike two networks' features of the same examples are."""

from __future__ import annotations

import numpy as np


def linear_cka(one: np.ndarray, other: np.ndarray) -> float:
    """Linear centered kernel alignment (Kornblith et al. 2019, arXiv:1905.00414).

    1 where one is the other turned, mirrored or scaled; near 0 where they have nothing in common.

    Args:
        one: (examples, features); and `other`, of the same examples.
    """
    one, other = (x.astype(np.float64) - x.mean(axis=0, dtype=np.float64) for x in (one, other))
    kernels = one @ one.T, other @ other.T
    both = float((kernels[0] * kernels[1]).sum())
    alone = [float(np.sqrt(np.square(kernel).sum())) for kernel in kernels]
    return both / max(alone[0] * alone[1], 1e-30)
