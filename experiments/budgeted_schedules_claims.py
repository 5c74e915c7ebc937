"""The claims of the budget study: what is measured, and thresholds that were fixed before the run.

Not all of them hold at the size of the cpu preset, and the reasons that its records suggest are these. On text the full
budget is still far from convergence: a constant rate, tuned lower, loses less by its noise than a line to zero loses by
the steps that it makes small, so b3 and b4 fail. On the digits the gradient norm of the linear run falls by orders of
magnitude as the training set is fitted, or at low budgets hardly rises above its noise; its inverse square then puts
nearly all of the refined rate in a few places, late or early, and c1 and c2 fail. a1 and a2 fail by their means but
settle nothing: cell by cell REX ties with the line or is better (the table of losses), and the worst of two noisy cells
lies above the margin by chance as easily as below it.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from experiments.budgeted_schedules_methods import FRACTIONS, METHODS, final_losses, tuned
from lrstudy.study.claims import LEVEL, Claim, Measurement, largest, mean_interval, ratio
from lrstudy.study.errors import StudyError
from lrstudy.study.records import Records

if TYPE_CHECKING:
    import pandas as pd

SETTINGS = {
    "digits_sgd": "Digits, momentum: ",
    "digits_adam": "Digits, Adam: ",
    "text_sgd": "Text, momentum: ",
    "text_adam": "Text, Adam: ",
}
LOW = 2
"""How many of the budgets are low: 5 and 10%."""

MARGINS = {"digits_sgd": 0.05, "digits_adam": 0.05, "text_sgd": 0.01, "text_adam": 0.01}
"""What counts as no worse, over the linear schedule's loss. Most of the text's loss is the entropy of the text."""


def decided(records: Records) -> list[str]:
    """The settings whose deciding runs are there.

    Raises:
        StudyError: there are none.
    """
    names = [name for name in SETTINGS if len(records.part(f"decide_{name}").runs)]
    if not names:
        raise StudyError("no setting is decided")
    return names


def losses(records: Records, name: str) -> "pd.DataFrame":
    """Final losses of a setting's deciding runs: (method, budget in updates) by seed, NaN where a run diverged."""
    frame = final_losses(records.part(f"decide_{name}"))
    return frame.pivot_table(index=["method", "steps"], columns="seed", values="loss", dropna=False)


def _budgets(table: "pd.DataFrame") -> list[int]:
    return sorted(table.index.get_level_values("steps").unique())


def excess(table: "pd.DataFrame", method: str, other: str, steps: int, level: float = LEVEL) -> Measurement:
    """A method's mean loss over another's at the same budget, less one; the interval is paired by seed."""
    found = ratio(table.loc[(method, steps)].to_numpy(), table.loc[(other, steps)].to_numpy(), level)
    return Measurement(found.value - 1, found.n, found.low - 1, found.high - 1)


def _worst(name: str, method: str, other: str, count: int) -> Callable[[Records], Measurement]:
    """The largest excess of the first budgets; its upper end is below a threshold only if that of each is."""

    def measure(records: Records) -> Measurement:
        table = losses(records, name)
        steps = _budgets(table)[:count]
        return largest(lambda level: [excess(table, method, other, one, level) for one in steps])

    return measure


def loss_table(records: Records) -> "pd.DataFrame":
    """Every setting, budget and method: loss, seeds, difference from the linear schedule, and what it amounts to."""
    import pandas as pd

    rows = []
    for name in decided(records):
        table = losses(records, name)
        for fraction, steps in zip(FRACTIONS, _budgets(table), strict=True):
            for method, label in METHODS.items():
                own = table.loc[(method, steps)].to_numpy()
                gap = mean_interval(own - table.loc[("Linear", steps)].to_numpy())
                spread = mean_interval(own)
                rows.append(
                    {
                        "setting": name,
                        "budget": f"{100 * fraction:g}%",
                        "updates": steps,
                        "method": label,
                        "mean": spread.value,
                        "standard error": float(np.std(own, ddof=1) / np.sqrt(len(own))) if len(own) > 1 else np.nan,
                        "minus linear": gap.value,
                        "95% low": gap.low,
                        "95% high": gap.high,
                        "verdict": "" if method == "Linear" else _verdict(gap),
                        "seeds": len(own),
                    }
                )
    return pd.DataFrame(rows)


def _verdict(gap: Measurement) -> str:
    """What an interval of the difference from the linear schedule says."""
    if not np.isfinite(gap.value):
        return "diverged"
    if gap.high < 0:
        return "better"
    return "worse" if gap.low > 0 else "tie"


def ranking(records: Records) -> "pd.DataFrame":
    """Mean ranks over settings and budgets, the best first; a diverged run ranks last."""
    import pandas as pd

    tables = {name: losses(records, name) for name in decided(records)}
    seeds = min(table.shape[1] for table in tables.values())
    by_mean = {count: _mean_ranks(tables, None, count) for count in (len(FRACTIONS), LOW)}
    by_seed = pd.DataFrame({seed: _mean_ranks(tables, seed, len(FRACTIONS)) for seed in range(seeds)})
    verdicts = loss_table(records).groupby("method")["verdict"].value_counts().unstack(fill_value=0)
    rows = [
        {
            "method": label,
            "mean rank": by_mean[len(FRACTIONS)][method],
            "standard error": by_seed.loc[method].sem(),
            "at 5 and 10%": by_mean[LOW][method],
            **{f"{word} than linear": int(verdicts.get(word, {}).get(label, 0)) for word in ("better", "worse")},
            "ties with linear": int(verdicts.get("tie", {}).get(label, 0)),
            "seeds": seeds,
        }
        for method, label in METHODS.items()
    ]
    return pd.DataFrame(rows).sort_values("mean rank", ignore_index=True)


def _mean_ranks(tables: dict[str, "pd.DataFrame"], seed: int | None, count: int) -> "pd.Series":
    """Method to its mean rank over settings and the first budgets, by the mean over seeds or by one seed (a place)."""
    import pandas as pd

    def ranks() -> Iterator[pd.Series]:
        for table in tables.values():
            values = table.mean(axis=1, skipna=False) if seed is None else table.iloc[:, seed]
            for steps in _budgets(table)[:count]:
                yield values.xs(steps, level="steps").fillna(np.inf).rank()

    return pd.concat(list(ranks()), axis=1).mean(axis=1)


def peak_table(records: Records) -> "pd.DataFrame":
    """The tuned peak of every setting, method and budget, and whether the grid should be extended."""
    import pandas as pd

    rows = []
    for name in decided(records):
        found = tuned(records.part(f"tune_{name}")) | tuned(records.part(f"refine_{name}"))
        for (method, steps), best in found.items():
            row = {"setting": name, "method": METHODS[method], "updates": steps, "peak": best.peak}
            note = "on the grid's edge: extend the grid" if best.on_edge else ""
            rows.append({**row, "tuning seeds": best.losses.shape[1], "note": note})
    return pd.DataFrame(rows)


_REX, _REFINED = "arXiv 2107.04197, abstract", "arXiv 2310.07831, abstract and section 3"
_BUDGETS = len(FRACTIONS)


def _claims() -> Iterator[Claim]:
    """The claims; those of one letter are one question asked of four settings."""
    for place, (name, label) in enumerate(SETTINGS.items(), start=1):
        part, margin = (f"decide_{name}",), MARGINS[name]
        yield Claim(
            f"a{place}",
            label + "REX over linear, less one, worst of the 5 and 10% budgets",
            _REX,
            part,
            _worst(name, "Rex", "Linear", LOW),
            "<=",
            margin,
        )
        yield Claim(
            f"b{place}",
            label + "linear over constant, less one, worst budget",
            _REFINED,
            part,
            _worst(name, "Linear", "Constant", _BUDGETS),
            "<",
            0.0,
        )
        yield Claim(f"c{place}", label + "refined over linear, less one, worst budget", _REFINED, part,
                    _worst(name, "Tabulated", "Linear", _BUDGETS), "<=", margin)  # fmt: skip


CLAIMS: Sequence[Claim] = tuple(sorted(_claims(), key=lambda claim: claim.claim_id))
