"""The Power scheduler's law: the best rate in proportion to the batch, and a power of the tokens."""

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar, Self

import numpy as np

from lrstudy.laws.fit import Fit, Settings
from lrstudy.laws.hyperparameter_law import HyperparameterLaw
from lrstudy.laws.log_linear import fit_powers
from lrstudy.laws.scores import scores
from lrstudy.laws.size_law import positive, run_columns

COLUMNS = ("batch", "tokens", "lr")


@dataclasses.dataclass(frozen=True)
class PowerLearningRate(HyperparameterLaw):
    """``rate = batch a tokens^b`` (Shen et al. 2024, arXiv:2408.13359): the best peak of a WSD run.

    The defaults are its fit to models of 36M parameters and around it, with batches in sequences of 4,096 tokens.

    Attributes:
        a: factor.
        b: exponent of the run's tokens.
    """

    paper: ClassVar = "Shen et al. 2024, Power Scheduler, arXiv 2408.13359"

    a: float = 4.6
    b: float = -0.51

    def predict(self, batch: Any, tokens: Any) -> np.ndarray:
        """The best rates, broadcast against each other.

        Args:
            batch: sequences of an update.
            tokens: of the run.

        Warns:
            ExtrapolationWarning: far outside of what it was fitted to.

        Raises:
            LawError: for what is not positive.
        """
        batch, tokens = positive("PowerLearningRate", "batch", batch), positive("PowerLearningRate", "tokens", tokens)
        self._check(batch=batch, tokens=tokens)
        return batch * self.a * tokens**self.b

    @classmethod
    def fit(
        cls, runs: Any, *, starts: int = 1, converge: bool = True, key: Any = None, resamples: int = 1000
    ) -> Fit[Self]:
        """Fits the law to the best rates of several batches and lengths.

        Args:
            runs: a data frame or mapping with the columns batch, tokens, lr: one row for each batch and length.
            starts: of no consequence, as the fit is linear; so is ``converge``. They are there as for every law.
            converge: see ``starts``.
            key: of the bootstrap.
            resamples: of the bootstrap.

        Returns:
            The law, with the scores of its log rates as metrics.

        Raises:
            LawError: a bad column; or runs that differ too little.
        """
        rows = run_columns("PowerLearningRate", runs, COLUMNS)

        def score(law: Any) -> dict[str, float]:
            return scores(np.log(law.predict(rows["batch"], rows["tokens"])), np.log(rows["lr"]))

        return cls._fit(rows, ("batch", "tokens"), score, Settings(starts, converge, key, resamples))

    @classmethod
    def _of(cls, rows: Mapping[str, np.ndarray]) -> Self:
        factor, exponent = fit_powers("PowerLearningRate", rows["lr"] / rows["batch"], rows["tokens"])
        return cls(float(np.exp(factor)), float(exponent))
