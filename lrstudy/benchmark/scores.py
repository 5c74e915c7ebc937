"""Performance profiles and the scores that are integrals of them (Dahl et al. 2023, arXiv 2306.07179)."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

from lrstudy.benchmark.table import checked, counted, held_out
from lrstudy.schedules.checks import one_of

if TYPE_CHECKING:
    import pandas as pd

Rule = Literal["exact", "parity"]

_PARITY_POINTS = 100


def profile(
    times: "pd.DataFrame", taus: Sequence[float] | np.ndarray, *, tau_max: float = 4.0, workloads: int | None = None
) -> "pd.DataFrame":
    """The share of workloads that a submission solves within tau times what the fastest needs: rho(tau).

    Args:
        times: one row a submission, one column a workload, in any unit; infinity or NaN for a miss. A column
            ``<workload>_<variant>`` is a held-out variant, see ``table.counted``.
        taus: ratios of at least 1. Above ``tau_max`` the profile is flat.
        tau_max: the ratio above which there is no credit.
        workloads: what the share is of; ``None``: the workloads of the table, held-out variants not among them.

    Returns:
        One row a submission, one column a tau.

    Raises:
        ValueError: a table or a number that is none of these.
    """
    import pandas as pd

    points = np.asarray(taus, np.float64)
    if points.ndim != 1 or not points.size or not (points >= 1).all():
        raise ValueError(f"taus must be one or more ratios of at least 1, got {taus!r}")
    ratios, of = _ratios(times, tau_max, workloads)
    shares = (ratios.to_numpy()[:, :, None] <= points).sum(1) / of
    return pd.DataFrame(shares, index=ratios.index, columns=pd.Index(points, name="tau"))


def score(
    times: "pd.DataFrame", *, rule: Rule = "exact", tau_max: float = 4.0, workloads: int | None = None
) -> dict[str, float]:
    """What a submission's profile is on average between 1 and ``tau_max``: 1 for the fastest everywhere, 0 for misses.

    Args:
        times: see ``profile``.
        rule: ``exact``: in closed form, the mean over workloads of max(0, tau_max - r) / (tau_max - 1) at a ratio r to
            the fastest. ``parity``: as AlgoPerf's code computes it, by trapezoids over 100 points, which is up to half
            a cell more.
        tau_max: the ratio above which there is no credit.
        workloads: what the mean is over; ``None``: the workloads of the table. A constant, as AlgoPerf's code has it,
            makes those that the table lacks count as missed.

    Returns:
        Submission to score, in the table's order.

    Raises:
        ValueError: a table, a rule or a number that is none of these.

    Example:
        >>> import pandas as pd
        >>> times = pd.DataFrame({"first": [10.0, 20.0], "second": [30.0, 15.0]}, index=["adamw", "lion"])
        >>> round(score(times)["adamw"], 4)  # (1 + 2 / 3) / 2: the fastest once, and once at twice the fastest's time
        0.8333
        >>> profile(times, [1, 2]).to_numpy().tolist()
        [[0.5, 1.0], [0.5, 1.0]]
    """
    if rule not in get_args(Rule):
        raise ValueError(f"rule must be {one_of(get_args(Rule), rule)}, got {rule!r}")
    if rule == "exact":
        ratios, of = _ratios(times, tau_max, workloads)
        values = np.maximum(tau_max - ratios.to_numpy(), 0).sum(1) / ((tau_max - 1) * of)
        return dict(zip(ratios.index, values.tolist(), strict=True))
    _check_tau_max(tau_max)
    shares = profile(times, np.linspace(1, tau_max, _PARITY_POINTS), tau_max=tau_max, workloads=workloads)
    areas = np.trapezoid(shares.to_numpy(), shares.columns.to_numpy(), axis=1) / (tau_max - 1)
    return dict(zip(shares.index, areas.tolist(), strict=True))


def speedup(
    times: "pd.DataFrame", submission: str, baseline: str, *, budgets: Mapping[str, float] | None = None
) -> float:
    """How many times faster a submission is than a baseline: the geometric mean of t_baseline / t_submission.

    Held-out variants do not count.

    Args:
        times: see ``profile``.
        submission: a row of it.
        baseline: another.
        budgets: workload to what a miss counts as; without it none of the two may have missed.

    Raises:
        ValueError: there is no such row, or a miss without a budget.
    """
    found = checked(times)
    found = found[[name for name in found.columns if name not in held_out(found)]]
    rows = []
    for argument, name in (("submission", submission), ("baseline", baseline)):
        if name not in found.index:
            raise ValueError(f"{argument} must be {one_of(list(found.index), name)}, got {name!r}")
        rows.append(found.loc[name].to_dict())
    missed = [name for name in found.columns if any(math.isinf(row[name]) for row in rows)]
    for name in missed:
        budget = (budgets or {}).get(name)
        if budget is None or not 0 < budget < math.inf:
            raise ValueError(f"budgets must hold a positive number for {name!r}, which was missed, got {budget!r}")
        for row in rows:
            row[name] = min(row[name], budget)
    own, base = (np.asarray([row[name] for name in found.columns]) for row in rows)
    return float(np.exp(np.mean(np.log(base) - np.log(own))))


def _ratios(times: "pd.DataFrame", tau_max: float, workloads: int | None) -> tuple["pd.DataFrame", int]:
    """Times over the fastest of their workload, infinite for a miss, and how many workloads there are to count."""
    _check_tau_max(tau_max)
    found = counted(checked(times), tau_max)
    present = len(found.columns)
    if workloads is not None and (not isinstance(workloads, int) or workloads < present):
        raise ValueError(f"workloads must be None or an int of at least {present}, those there are, got {workloads!r}")
    fastest = found.min()
    # Where nobody is fast, everybody's ratio would be undefined: it is a miss of all.
    return found.div(fastest.where(np.isfinite(fastest), 1.0)), present if workloads is None else workloads


def _check_tau_max(tau_max: float) -> None:
    if not isinstance(tau_max, int | float) or not 1 < tau_max < math.inf:
        raise ValueError(f"tau_max must be a finite number above 1, got {tau_max!r}")
