"""Three training budgets served by one path or by branches of one: what they cost and where they end."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from lrstudy.study.claims import mean_interval
from lrstudy.study.records import Records

if TYPE_CHECKING:
    import pandas as pd

DECAY_SHARE = 0.2
BUDGET_METHODS = {
    "CyclicCosine": "Cyclic-Cosine",
    "WSDS": "WSD-S",
    "WSD": "WSD, shortened to the same cost",
    "WSD full": "WSD, full lengths (costs more)",
}


def budget_ends(steps: int) -> tuple[int, int, int]:
    """The ends of three budgets on one path: a quarter, a half and all of the steps."""
    return steps // 4, steps // 2, steps


def shortened_budgets(steps: int) -> tuple[tuple[int, int], ...]:
    """(budget, decay steps) of three WSD runs whose common trunk and three decays cost ``steps`` updates together.

    All budgets shrink by one factor, decays being ``DECAY_SHARE`` of their budget; rounding is left to the longest.
    """
    ends = budget_ends(steps)
    factor = steps / (steps * (1 - DECAY_SHARE) + DECAY_SHARE * sum(ends))
    budgets = [round(end * factor) for end in ends]
    decays = [round(DECAY_SHARE * budget) for budget in budgets]
    longest = steps - decays[0] - decays[1]
    return (budgets[0], decays[0]), (budgets[1], decays[1]), (longest, decays[2])


def full_budgets(steps: int) -> tuple[tuple[int, int], ...]:
    """(budget, decay steps) of three WSD runs of the full lengths; together they cost more than ``steps`` updates."""
    return tuple((end, round(DECAY_SHARE * end)) for end in budget_ends(steps))


def budget_losses(records: Records, metric: str) -> dict[tuple[str, int], tuple[int, np.ndarray]]:
    """(method, checkpoint 0..2) to the updates on the checkpoint's path and its loss for every seed."""
    found = {}
    steps = int(records.runs["steps"].max())
    for method in ("CyclicCosine", "WSDS"):
        own = records.where(schedule=method)
        for place, end in enumerate(budget_ends(steps)):
            losses = own.final(metric) if end == steps else own.at_step(metric, end)
            found[method, place] = (end, losses.to_numpy())
    for method, budgets in (("WSD", shortened_budgets(steps)), ("WSD full", full_budgets(steps))):
        for place, (budget, decay) in enumerate(budgets):
            own = records.where(schedule="WSD", steps=budget, schedule__decay_steps=decay)
            found[method, place] = (budget, own.final(metric).to_numpy())
    return found


def budget_table(records: Records, metric: str) -> "pd.DataFrame":
    """Every method's three checkpoints: updates on the path, updates spent by the method so far, loss."""
    import pandas as pd

    rows = []
    steps = int(records.runs["steps"].max())
    for (method, place), (path, losses) in budget_losses(records, metric).items():
        spread = mean_interval(losses)
        rows.append(
            {
                "method": BUDGET_METHODS[method],
                "checkpoint": place + 1,
                "path_steps": path,
                "spent so far": _spent(steps, method, place),
                "mean": spread.value,
                "standard error": float(np.std(losses, ddof=1) / np.sqrt(len(losses))) if len(losses) > 1 else np.nan,
                "seeds": len(losses),
            }
        )
    return pd.DataFrame(rows)


def budget_gaps(records: Records, metric: str, other: str) -> list[np.ndarray]:
    """WSD-S minus another method, seed by seed, at each of the three checkpoints."""
    losses = budget_losses(records, metric)
    return [losses["WSDS", place][1] - losses[other, place][1] for place in range(3)]


def _gap_table(part: str, metric: str) -> Callable[[Records], "pd.DataFrame"]:
    """WSD-S minus every other method at every checkpoint, paired by seed."""

    def compute(records: Records) -> "pd.DataFrame":
        import pandas as pd

        rows = []
        for other in ("CyclicCosine", "WSD", "WSD full"):
            for place, gaps in enumerate(budget_gaps(records.part(part), metric, other)):
                gap = mean_interval(gaps)
                row = {"WSD-S minus": BUDGET_METHODS[other], "checkpoint": place + 1, "mean": gap.value}
                rows.append({**row, "95% low": gap.low, "95% high": gap.high, "seeds": gap.n})
        return pd.DataFrame(rows)

    return compute


text_gap_table = _gap_table("text_budgets", "validation_loss")
river_gap_table = _gap_table("river_budgets", "expected_loss")


def _spent(steps: int, method: str, place: int) -> int:
    """Updates that a method has made when it has this checkpoint: WSD's trunk and all decays so far, else the path."""
    if not method.startswith("WSD ") and method != "WSD":
        return budget_ends(steps)[place]
    budgets = (shortened_budgets if method == "WSD" else full_budgets)(steps)[: place + 1]
    longest, last_decay = budgets[-1]
    return longest - last_decay + sum(decay for _, decay in budgets)


def text_budget_table(records: Records) -> "pd.DataFrame":
    """The budgets on text."""
    return budget_table(records.part("text_budgets"), "validation_loss")


def river_budget_table(records: Records) -> "pd.DataFrame":
    """The budgets on the curved river."""
    return budget_table(records.part("river_budgets"), "expected_loss")
