"""A training set divided among clients that do not see the same classes."""

import numpy as np
from jaxtyping import Float, Int, Shaped


def dirichlet_split(
    labels: Shaped[np.ndarray, " examples"], clients: int, alpha: float, seed: int
) -> tuple[Int[np.ndarray, "clients largest"], Int[np.ndarray, " clients"]]:
    """Deals the examples of every class to clients in Dirichlet(alpha) proportions (Hsu et al. 2019, arXiv 1909.06335).

    Args:
        labels: class of every example.
        clients: at most the number of examples.
        alpha: small: a class lies with few clients; large: every client sees all classes alike.
        seed: of the proportions and of who gets which example; the same seed gives the same split everywhere.

    Returns:
        The examples of every client, rows filled up with 0, and how many there are. No client is left without: one that
        the proportions give nothing takes an example from the largest.
    """
    rng = np.random.default_rng(seed)
    members: list[list[int]] = [[] for _ in range(clients)]
    for label in np.unique(labels):
        examples = rng.permutation(np.flatnonzero(labels == label))
        cuts = _cuts(rng.dirichlet(np.full(clients, alpha)), len(examples))
        for own, part in zip(members, np.split(examples, cuts), strict=True):
            own.extend(part.tolist())
    for own in members:
        if not own:
            own.append(max(members, key=len).pop())
    sizes = np.asarray([len(own) for own in members], np.int32)
    table = np.zeros((clients, sizes.max()), np.int32)
    for row, own in zip(table, members, strict=True):
        row[: len(own)] = own
    return table, sizes


def _cuts(shares: Float[np.ndarray, " clients"], examples: int) -> Int[np.ndarray, " cuts"]:
    """Where to cut: cumulated shares, each rounded once, so that the parts add up."""
    return np.round(np.cumsum(shares)[:-1] * examples).astype(np.int64)
