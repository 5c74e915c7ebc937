"""Which learning rates to try next: a Gaussian process over the logarithm of the rate and a lower confidence bound."""

from collections.abc import Sequence

import numpy as np

GRID = 257
"""Rates, evenly spaced in the logarithm, from which all are chosen; so no rate can be asked for twice."""
_LENGTH_SCALE = 0.25
_NOISE = 1e-4


class Proposals:
    """Asks for rates and is told losses.

    The process has a fixed kernel (Matern 5/2, length scale a quarter of the logarithmic range), so its variance at a
    rate depends on where losses were asked for, not on what they were. The authors' program bounds at a million
    deviations below the mean, which the variance decides unless two variances agree to a millionth; without a kappa
    the variance alone decides. Then all rates of a stage can be asked for before any loss is known, and they are the
    rates that asking and telling in turn would give. (The authors' process also refits its kernel to the losses, which
    is left out here for the sake of that.) With a finite kappa a loss that is not yet known is stood in for by the
    process's own mean there (the kriging believer of Ginsbourger et al. 2010), a heuristic; ``ask(1)`` and ``tell`` in
    turn are then the exact sequential search.

    Args:
        low: smallest rate, above 0.
        high: largest rate, above ``low``.
        kappa: deviations below the mean; ``None``: go where the variance is largest.
        seed: of the first rate, which is drawn evenly from the grid.
    """

    def __init__(self, low: float, high: float, *, kappa: float | None = None, seed: Sequence[int] = (0,)) -> None:
        self._rates = np.geomspace(low, high, GRID)
        self._rates[[0, -1]] = low, high  # geomspace rounds the ends
        self._places = np.linspace(0.0, 1.0, GRID)
        self._kappa = kappa
        self._first = int(np.random.default_rng(list(seed)).integers(GRID))
        self._asked: list[int] = []
        self._told: dict[int, float] = {}

    def ask(self, count: int) -> list[float]:
        """The next rates, none asked for before.

        Raises:
            ValueError: the grid has not so many left.
        """
        left = GRID - len(self._asked)
        if not 1 <= count <= left:
            raise ValueError(f"count must be in [1, {left}], got {count!r}")
        believed = dict(self._told)
        chosen = []
        for _ in range(count):
            place = self._next(believed)
            chosen.append(place)
            self._asked.append(place)
        return [float(self._rates[place]) for place in chosen]

    def tell(self, rates: Sequence[float], losses: Sequence[float]) -> None:
        """What came of rates that were asked for; a loss that is not finite counts as the worst finite one.

        Raises:
            ValueError: a rate was not asked for.
        """
        asked = {float(self._rates[place]): place for place in self._asked}
        for rate, loss in zip(rates, losses, strict=True):
            if rate not in asked:
                raise ValueError(f"rates must have been asked for, got {rate!r}")
            self._told[asked[rate]] = float(loss)

    def _next(self, believed: dict[int, float]) -> int:
        """The unasked place of the lowest bound; the process's mean at places without a loss goes into ``believed``."""
        if not self._asked:
            return self._first
        if self._kappa is None:
            _, deviation = self._at_all(dict.fromkeys(self._asked, 0.0))
            bound = -deviation
        else:
            waiting = [place for place in self._asked if place not in believed]
            known = _finite(believed)
            means = self._at_all(known)[0] if known else np.zeros(GRID)
            known |= {place: float(means[place]) for place in waiting}
            believed |= known
            mean, deviation = self._at_all(known)
            bound = mean - self._kappa * deviation
        bound[self._asked] = np.inf
        return int(np.argmin(bound))

    def _at_all(self, known: dict[int, float]) -> tuple[np.ndarray, np.ndarray]:
        """Mean and standard deviation of the process at every rate, given losses at some."""
        from sklearn.gaussian_process import GaussianProcessRegressor
        from sklearn.gaussian_process.kernels import Matern

        kernel = Matern(length_scale=_LENGTH_SCALE, nu=2.5)
        process = GaussianProcessRegressor(kernel, alpha=_NOISE, optimizer=None, normalize_y=True)
        process.fit(self._places[list(known), None], np.asarray(list(known.values())))
        return process.predict(self._places[:, None], return_std=True)


def _finite(losses: dict[int, float]) -> dict[int, float]:
    """Losses that are not finite replaced by the largest finite one, or by 0 where there is none."""
    worst = max((loss for loss in losses.values() if np.isfinite(loss)), default=0.0)
    return {place: loss if np.isfinite(loss) else worst for place, loss in losses.items()}
