"""The critical batch size: what larger batches save in updates, and cost in examples."""

import dataclasses
from typing import Any, ClassVar, NamedTuple

import numpy as np

from lrstudy.laws.size_law import positive


@dataclasses.dataclass(frozen=True)
class CriticalBatch:
    """``B_crit(L) = B_star L^(-1 / alpha_B)`` (Kaplan et al. 2020, arXiv:2001.08361, equation 1.4).

    Attributes:
        B_star: tokens at a loss of 1.
        alpha_B: how it grows as the loss falls.
    """

    paper: ClassVar = "Kaplan et al. 2020, arXiv 2001.08361"

    B_star: float = 2.1e8
    alpha_B: float = 0.21

    def __post_init__(self) -> None:
        for name in ("B_star", "alpha_B"):
            positive("CriticalBatch", name, getattr(self, name))

    def predict(self, loss: Any) -> np.ndarray:
        """The critical batch at a loss, in tokens."""
        return self.B_star / positive("CriticalBatch", "loss", loss) ** (1 / self.alpha_B)

    def least_steps(self, steps: Any, batch: Any, loss: Any) -> np.ndarray:
        """``S / (1 + B_crit / B)``: updates that a batch far above the critical one would have needed to that loss."""
        steps, batch = positive("CriticalBatch", "steps", steps), positive("CriticalBatch", "batch", batch)
        return steps / (1 + self.predict(loss) / batch)

    def least_compute(self, compute: Any, batch: Any, loss: Any) -> np.ndarray:
        """``C / (1 + B / B_crit)``: what a batch far below the critical one would have cost to that loss."""
        compute, batch = positive("CriticalBatch", "compute", compute), positive("CriticalBatch", "batch", batch)
        return compute / (1 + batch / self.predict(loss))


class BatchTradeoff(NamedTuple):
    """What it takes to one loss.

    Attributes:
        least_steps: updates, however large the batch.
        least_examples: examples, however small the batch.
    """

    least_steps: float
    least_examples: float

    @property
    def critical_batch(self) -> float:
        """The batch with which both are twice their least."""
        return self.least_examples / self.least_steps

    def steps(self, batch: Any) -> np.ndarray:
        """Updates with a batch: ``S_min + E_min / B``, which is ``(S / S_min - 1) (E / E_min - 1) = 1``."""
        return self.least_steps + self.least_examples / positive("BatchTradeoff", "batch", batch)


def batch_tradeoff(batches: Any, steps: Any) -> BatchTradeoff:
    """The trade-off between updates and examples, from the updates that runs of several batches took to one loss.

    ``S = S_min + E_min / B`` is linear in its unknowns; relative errors are minimised (arXiv:1812.06162).

    Args:
        batches: shape (n,), n at least 2.
        steps: shape (n,).

    Raises:
        LawError: for values that are not positive.

    Example:
        >>> found = batch_tradeoff([100, 400], [300, 150])  # 100 updates at least, 20,000 examples at least
        >>> round(found.least_steps), round(found.least_examples)
        (100, 20000)
    """
    from scipy.optimize import nnls

    batch = np.atleast_1d(positive("batch_tradeoff", "batches", batches))
    taken = np.atleast_1d(positive("batch_tradeoff", "steps", steps))
    columns = np.stack([1 / taken, 1 / (batch * taken)], axis=-1)
    scales = np.linalg.norm(columns, axis=0)
    found, _ = nnls(columns / scales, np.ones(len(taken)))
    return BatchTradeoff(*(found / scales).tolist())
