"""How well a learner keeps what it knew while it learns: metrics of accuracies that were recorded along the way.

De Lange et al. 2023, Continual evaluation for lifelong learning: identifying the stability gap, arXiv 2205.13452,
section 4. Tasks are learnt one after the other; task k (counted from 1) is over after ``t_k`` updates. A metric of the
end of the first task alone has nothing to compare with and is NaN.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int


@dataclasses.dataclass(frozen=True)
class Accuracies:
    """Accuracies of one run on every task at some of its update counts.

    Attributes:
        steps: updates that had been made at each evaluation, increasing.
        values: accuracy in [0, 1] at each evaluation on each task, seen or not.
        ends: t_k, the updates after which each task is over, increasing; an evaluation must stand at each.

    Raises:
        ValueError: shapes that do not fit, counts that do not increase, or a task's end without an evaluation.
    """

    steps: Int[np.ndarray, " evaluations"]
    values: Float[np.ndarray, "evaluations tasks"]
    ends: Sequence[int]

    def __post_init__(self) -> None:
        shape = (len(self.steps), len(self.ends))
        if self.values.shape != shape:
            raise ValueError(f"values must be of shape {shape}, evaluations by tasks, got {self.values.shape}")
        if (np.diff(self.steps) <= 0).any() or (np.diff(self.ends) <= 0).any():
            raise ValueError("steps and ends must increase")
        missing = sorted(set(self.ends) - set(self.steps.tolist()))
        if missing:
            raise ValueError(f"an evaluation must stand at the end of every task, got none after {missing} updates")

    @property
    def tasks(self) -> int:
        """How many tasks."""
        return len(self.ends)

    def at_end(self, k: int) -> Float[np.ndarray, " tasks"]:
        """Accuracy on every task when task k is over.

        Raises:
            ValueError: there is no task k.
        """
        self._check(k)
        return self.values[np.searchsorted(self.steps, self.ends[k - 1])]

    def sampled(self, steps: Sequence[int]) -> "Accuracies":
        """What evaluating at these update counts alone would have seen."""
        kept = np.isin(self.steps, steps)
        return Accuracies(self.steps[kept], self.values[kept], self.ends)

    def average(self, k: int) -> float:
        """ACC_k: mean accuracy on tasks 1..k when task k is over."""
        return float(np.mean(self.at_end(k)[:k]))

    def forgetting(self, k: int) -> float:
        """FORG_k: how far tasks 1..k-1 have fallen, on average, from the end of their own task to the end of task k."""
        learnt = [self.at_end(task)[task - 1] for task in range(1, k)]
        return float(np.mean(learnt - self.at_end(k)[: k - 1])) if k > 1 else float("nan")

    def minimum(self, k: int) -> float:
        """min-ACC_k = 1/(k-1) sum_{i<k} min_{t_i < n <= t_k} A(E_i, f_n): the worst moment of each earlier task."""
        self._check(k)
        lows = []
        for task in range(1, k):
            later = (self.steps > self.ends[task - 1]) & (self.steps <= self.ends[k - 1])
            lows.append(self.values[later, task - 1].min())
        return float(np.mean(lows)) if lows else float("nan")

    def worst_case(self, k: int) -> float:
        """WC-ACC_k = A(E_k, f)/k + (1 - 1/k) min-ACC_k when task k is over: a bound on what one pays at the worst."""
        return float(self.at_end(k)[k - 1] / k + (1 - 1 / k) * self.minimum(k))

    def _check(self, k: int) -> None:
        if not 1 <= k <= self.tasks:
            raise ValueError(f"k must be in [1, {self.tasks}], got {k!r}")
