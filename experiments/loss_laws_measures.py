"""What the study of loss laws computes from records: curves, fits, predictions and the schedules that follow."""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from lrstudy.laws import AnnealingLaw, ConvexBound, Curve, Fit, FunctionalScalingLaw, MultiPowerLaw, best_schedule
from lrstudy.laws.scores import average
from lrstudy.schedules import Schedule, Tabulated
from lrstudy.study.errors import StudyError
from lrstudy.study.loss_curves import loss_curve
from lrstudy.study.records import Records

if TYPE_CHECKING:
    import pandas as pd

FITTED = ("constant", "cosine", "two_stages_30", "wsd_20_linear")
PREDICTED = ("constant_long", "cosine_long", "two_stages_10", "wsd_20_1-sqrt", "wsd_40_linear")
HAND_MADE = (
    *("cosine", "cosine_to_0", "wsd_20_linear_to_0", "wsd_20_1-sqrt_to_0"),
    *("wsd_40_linear_to_0", "wsd_40_1-sqrt_to_0", "wsd_80_linear_to_0"),
)
LENGTHS = {"constant_long": 2, "cosine_long": 2}
END = 0.1
"""Of the peak: where a schedule ends whose name does not say that it ends at 0."""

FIRST = 0.1
"""Of a short run's updates: rows before are not fitted, as no law describes the first descent."""

METRIC = "validation_loss"

DECAYS = (0.9, 0.95, 0.98, 0.99, 0.995, 0.999)
"""Of the annealing law's momentum, where it is fitted: it forgets after 10 to 1,000 updates."""

LAWS: Mapping[str, Callable[..., Fit[Any]]] = {
    "annealing": AnnealingLaw.fit,
    "annealing, decay fitted": functools.partial(AnnealingLaw.fit, decay=DECAYS),
    "multi-power": MultiPowerLaw.fit,
    "multi-power, stopped early": functools.partial(MultiPowerLaw.fit, converge=False),
    "functional scaling": FunctionalScalingLaw.fit,
    "convex bound": ConvexBound.fit,
}

ASKED = ("multi-power", "multi-power, stopped early", "functional scaling")
"""The laws that are asked for a schedule; that of annealing wants updates at no rate, and is refused."""


def name_of(schedule: Schedule, long: bool) -> str:
    """The name of a schedule that a person made."""
    kind = type(schedule).__name__
    arguments = schedule.to_dict()
    to_zero = "_to_0" if arguments.get("end") == 0 else ""
    if kind == "StepDecay":
        return f"two_stages_{100 * arguments['factors'][0]:.0f}"
    if kind == "WSD":
        return f"wsd_{100 * arguments['decay_fraction']:.0f}_{arguments['shape']}{to_zero}"
    return f"{kind.lower()}{to_zero}{'_long' if long else ''}"


def curves_of(records: Records, seeds: Sequence[int] | None = None) -> dict[str, Curve]:
    """The mean curve of every schedule of a part, by name, without the first descent.

    Args:
        records: of the part.
        seeds: over which the mean is taken; None: all.

    Raises:
        StudyError: a schedule has no finished run.
    """
    runs = records.runs if seeds is None else records.runs[records.runs["seed"].isin(seeds)]
    shortest = int(runs["steps"].min())
    named: dict[str, list[str]] = {}
    for run_id, steps in zip(runs["run_id"], runs["steps"], strict=True):
        named.setdefault(name_of(records.schedules[run_id], int(steps) > shortest), []).append(run_id)
    found = {name: loss_curve(records.chosen(records.runs["run_id"].isin(ids)), METRIC) for name, ids in named.items()}
    return {name: curve.between(int(FIRST * shortest)) for name, curve in found.items()}


Frozen = tuple[tuple[str, bytes, bytes, bytes, int], ...]
"""Curves as a key: name, steps, losses, the rate of every update, updates of the warmup."""


def fits(curves: Mapping[str, Curve], resamples: int = 192, laws: Sequence[str] = tuple(LAWS)) -> dict[str, Fit[Any]]:
    """Laws, fitted to the four schedules; claims, figures and tables ask for the same fits, which are made once.

    Raises:
        StudyError: a curve is missing.
    """
    missing = [name for name in FITTED if name not in curves]
    if missing:
        raise StudyError(f"no run of {missing[0]} has finished")
    trained = [(name, curves[name]) for name in FITTED]
    frozen = tuple((n, c.steps.tobytes(), c.losses.tobytes(), c.rates.tobytes(), c.warmup_steps) for n, c in trained)
    return {law: _fit(law, frozen, resamples) for law in laws}


@functools.lru_cache(maxsize=64)
def _fit(law: str, frozen: Frozen, resamples: int) -> Fit[Any]:
    curves = {}
    for name, *columns, warmup in frozen:
        steps, losses, rates = (np.frombuffer(c, t) for c, t in zip(columns, (np.int64, float, float), strict=True))
        curves[name] = Curve(steps, rates[steps], losses, schedule=rates, warmup_steps=warmup)
    return LAWS[law](curves, resamples=resamples)


def predictions(curves: Mapping[str, Curve]) -> dict[str, dict[str, np.ndarray]]:
    """Law to schedule to predicted losses at the curve's steps."""
    return {
        law: {
            name: fit.law.predict(curve.rates, steps=curve.steps, warmup_steps=curve.warmup_steps)
            for name, curve in curves.items()
        }
        for law, fit in fits(curves).items()
    }


def held_out(
    records: Records, law: str, seeds: Sequence[int] | None = None, resamples: int = 192
) -> dict[str, dict[str, float]]:
    """Scores of a law on every schedule that it was not fitted to, fitted to and compared with means over seeds."""
    curves = curves_of(records.part("curves"), seeds)
    return fits(curves, resamples, (law,))[law].law.scores({name: curves[name] for name in PREDICTED})


def best_schedules(records: Records, steps: int, peak: float) -> dict[str, tuple[float, ...]]:
    """Law to the rates of the schedule that it likes best, from 0 to the last update at even spacing."""
    found = fits(curves_of(records), laws=ASKED)
    return {
        name: _thinned(best_schedule(found[name].law, steps, peak=peak, warmup_steps=steps // 20)) for name in ASKED
    }


def _thinned(schedule: Tabulated) -> tuple[float, ...]:
    """Every update's rate, and the one that follows the last, as plain numbers."""
    return tuple(float(f"{rate:.6g}") for rate in np.asarray(schedule.values, np.float64))


def deciding(records: Records) -> dict[str, Records]:
    """The runs on the deciding seeds, by the name of the schedule made by hand, or of the law whose best it is."""
    hand, best = records.part("hand"), records.part("best")
    found: dict[str, list[str]] = {}
    for run_id in hand.runs["run_id"]:
        found.setdefault(name_of(hand.schedules[run_id], long=False), []).append(run_id)
    named = {name: hand.chosen(hand.runs["run_id"].isin(ids)) for name, ids in found.items()}
    # The plan has one law after the other, each with every seed.
    seeds = len(best.parts["best"]) // len(ASKED)
    for place, law in enumerate(ASKED):
        own = best.parts["best"][place * seeds : (place + 1) * seeds]
        named[law] = best.chosen(best.runs["run_id"].isin(own))
    return named


def finals(records: Records) -> "pd.DataFrame":
    """Final losses on the deciding seeds: name (see ``deciding``) by seed."""
    import pandas as pd

    return pd.DataFrame({name: own.final(METRIC) for name, own in deciding(records).items()}).T


def best_by_hand(table: "pd.DataFrame") -> "pd.Series":
    """Of ``finals``, the row of the schedule made by hand with the smallest mean."""
    hand = table.loc[[name for name in table.index if name not in ASKED]]
    return hand.loc[hand.mean(axis=1).idxmin()]


def score_table(records: Records) -> "pd.DataFrame":
    """One row a law and schedule, and the mean of its schedules."""
    import pandas as pd

    rows = []
    for law in LAWS:
        scores = held_out(records, law)
        rows += [{"law": law, "schedule": name, **own} for name, own in scores.items()]
        rows.append({"law": law, "schedule": "mean", **average(scores.values())})
    return pd.DataFrame(rows)


def fit_table(records: Records) -> "pd.DataFrame":
    """One row a law and parameter."""
    import pandas as pd

    found = fits(curves_of(records.part("curves")))
    return pd.DataFrame(
        [
            {
                "law": law,
                "parameter": name,
                "value": value,
                "low": fit.intervals[name][0],
                "high": fit.intervals[name][1],
                "identified": fit.identified[name],
            }
            for law, fit in found.items()
            for name, value in fit.law.values.items()
        ]
    )


def predicted_finals(records: Records) -> dict[str, float]:
    """Law to the final loss that it predicts for the schedule that it likes best."""
    found = fits(curves_of(records.part("curves")))
    runs = deciding(records)
    losses = {}
    for law in ASKED:
        steps = int(runs[law].runs["steps"].iloc[0])
        schedule = next(iter(runs[law].schedules.values()))
        losses[law] = float(found[law].law.predict(schedule, steps=[steps - 1], warmup_steps=steps // 20)[0])
    return losses


def best_table(records: Records) -> "pd.DataFrame":
    """One row a schedule, the lowest mean first."""
    import pandas as pd

    table = finals(records)
    result = table.mean(axis=1).rename("loss").to_frame()
    result["standard error"] = table.std(axis=1, ddof=1) / np.sqrt(table.shape[1])
    result["predicted"] = pd.Series(predicted_finals(records))
    return result.sort_values("loss").reset_index(names="schedule")
