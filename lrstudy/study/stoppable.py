"""Which runs can be stopped early: their end must be foreseeable from their losses."""

from typing import TYPE_CHECKING, Any

import numpy as np

from lrstudy.feedback import effective_lr
from lrstudy.laws.extrapolation.racing import DECISIONS, LEAST_POINTS
from lrstudy.study.errors import ConfigError

if TYPE_CHECKING:
    from lrstudy.study.config import Run

MOST_LATE = 0.5
"""Of the fall from the highest rate to the last: as much may lie in the last fifth of a run."""


def check_stoppable(run: "Run", opt_state: Any) -> None:
    """A forecast reads evaluations, and knows nothing of a decay that comes after it.

    Args:
        run: whose ``early_stop`` is named.
        opt_state: of its optimizer, or what stands for it in ``jax.eval_shape``.

    Raises:
        ConfigError: there are too few, the optimizer adapts its rate, or the decay comes late and all at once.
    """
    config = run.config
    if effective_lr(opt_state) is not None:
        rule = "an optimizer that applies the rates that it is given"
        raise ConfigError(f"early_stop needs {rule}, got {config.optimizer.name}, which adapts them")
    if run.schedule.trunk() is not None or _late_share(run) > MOST_LATE:
        rule = "a schedule that decays before its end: what a late decay will gain cannot be foreseen"
        raise ConfigError(f"early_stop needs {rule}, got {config.schedule.name}")
    most = config.steps // LEAST_POINTS
    if not 0 < config.evaluate_every <= most:
        rule = f"at least {LEAST_POINTS} evaluations: evaluate_every in [1, {most}]"
        raise ConfigError(f"early_stop needs {rule}, got {config.evaluate_every!r}")


def _late_share(run: "Run") -> float:
    """How much of the fall from the highest rate to the last one lies in the last fifth of the run."""
    last = run.config.steps - 1
    steps = np.linspace(0, last, 201).astype(np.int32)
    rates = np.asarray(run.schedule(np.append(steps, int(DECISIONS[-1] * run.config.steps))), np.float64)
    fall = rates.max() - rates[-2]
    return float((rates[-1] - rates[-2]) / fall) if fall > 0 else 0.0
