"""Step Law: the best learning rate and batch size of a language model, from its size and its tokens."""

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar, Self

import numpy as np

from lrstudy.laws.errors import fail
from lrstudy.laws.fit import Fit, Settings
from lrstudy.laws.hyperparameter_law import HyperparameterLaw
from lrstudy.laws.log_linear import fit_powers
from lrstudy.laws.size_law import positive, run_columns

COLUMNS = ("N", "D", "lr", "batch", "loss")

CLOSE = 0.0025
"""Of the smallest loss of its N and D: a run so close to it counts as one of the best."""


@dataclasses.dataclass(frozen=True)
class StepLaw(HyperparameterLaw):
    """``rate = a N^b D^c`` and ``batch = d D^e`` (Li et al. 2025, arXiv:2503.04715).

    N is the number of parameters without embeddings, D the tokens of the run, the batch is in tokens; the rate is the
    peak of a schedule that ends at a constant lowest rate (1e-5 in the paper).

    Attributes:
        rate_factor: a.
        rate_size: b.
        rate_tokens: c.
        batch_factor: d.
        batch_tokens: e.

    Example:
        >>> rate, batch = StepLaw().predict(N=1e9, D=1e11)
        >>> f"{rate:.2e}", f"{batch:.2e}"
        ('1.63e-03', '1.11e+06')
    """

    paper: ClassVar = "Li et al. 2025, arXiv 2503.04715"

    rate_factor: float = 1.79
    rate_size: float = -0.713
    rate_tokens: float = 0.307
    batch_factor: float = 0.58
    batch_tokens: float = 0.571

    def predict(self, N: Any, D: Any) -> tuple[np.ndarray, np.ndarray]:
        """The best learning rate and the best batch in tokens, broadcast against each other.

        Warns:
            ExtrapolationWarning: far outside of what it was fitted to.

        Raises:
            LawError: for what is not positive.
        """
        size, tokens = np.broadcast_arrays(positive("StepLaw", "N", N), positive("StepLaw", "D", D))
        self._check(N=size, D=tokens)
        rate = self.rate_factor * size**self.rate_size * tokens**self.rate_tokens
        return rate, self.batch_factor * tokens**self.batch_tokens

    @classmethod
    def fit(
        cls,
        runs: Any,
        *,
        close: float = CLOSE,
        starts: int = 1,
        converge: bool = True,
        key: Any = None,
        resamples: int = 1000,
    ) -> Fit[Self]:
        """Fits the law to a grid of runs.

        Those within ``close`` of the smallest loss of their N and D are kept; the logarithms of their rates and
        batches are regressed on those of N and D.

        Args:
            runs: a data frame or mapping with the columns N, D, lr, batch (tokens), loss, one row a run.
            close: share of the loss.
            starts: of no consequence, as the fit is linear; so is ``converge``. They are there as for every law.
            converge: see ``starts``.
            key: of the bootstrap, which draws from the runs that were kept.
            resamples: of the bootstrap.

        Returns:
            The law, with ``kept``, ``groups`` and ``mean_regret`` and ``worst_regret`` (see ``regrets``) as metrics.

        Raises:
            LawError: a bad column; or runs that differ too little.
        """
        rows = run_columns("StepLaw", runs, COLUMNS)
        if not 0 <= close < 1:
            fail("StepLaw", "close", "in [0, 1)", close)
        group = groups(rows)
        least = np.array([rows["loss"][group == g].min() for g in range(group.max() + 1)])
        kept = {name: row[rows["loss"] <= (1 + close) * least[group]] for name, row in rows.items()}

        def score(law: Any) -> dict[str, float]:
            lost = regrets(law, rows)
            return {
                "kept": float(len(kept["loss"])),
                "groups": float(len(lost)),
                "mean_regret": float(lost.mean()),
                "worst_regret": float(lost.max()),
            }

        return cls._fit(kept, ("N", "D"), score, Settings(starts, converge, key, resamples))

    @classmethod
    def _of(cls, rows: Mapping[str, np.ndarray]) -> Self:
        rate = fit_powers("StepLaw", rows["lr"], rows["N"], rows["D"])
        batch = fit_powers("StepLaw", rows["batch"], rows["D"])
        found = (np.exp(rate[0]), rate[1], rate[2], np.exp(batch[0]), batch[1])
        return cls(*(float(value) for value in found))


def groups(rows: Mapping[str, np.ndarray]) -> np.ndarray:
    """The group of every row, from 0: one for each pair of N and D."""
    pairs = np.stack([rows["N"], rows["D"]], axis=-1)
    return np.unique(pairs, axis=0, return_inverse=True)[1].ravel()


def regrets(law: StepLaw, runs: Any) -> np.ndarray:
    """What following a law costs in each N and D of a grid, as a share of the smallest loss there.

    The law's rate and batch are rounded to the nearest run of the grid, in their logarithms.

    Args:
        law: any with ``predict(N, D)``.
        runs: as for ``StepLaw.fit``.

    Returns:
        Shape (groups,), 0 where it picks the best run.
    """
    rows = run_columns("StepLaw", runs, COLUMNS)
    group = groups(rows)
    found = []
    for g in range(group.max() + 1):
        own = {name: row[group == g] for name, row in rows.items()}
        rate, batch = law.predict(own["N"][0], own["D"][0])
        apart = np.log(own["lr"] / rate) ** 2 + np.log(own["batch"] / batch) ** 2
        found.append(own["loss"][int(np.argmin(apart))] / own["loss"].min() - 1)
    return np.array(found)
