"""The claims of the study of instabilities: what is measured, and thresholds that were fixed before the run.

Seeds 1 to 3 showed which peaks are high at this size, which z-loss acts within some hundred updates, and which epsilons
are of the order of the gradients. Of z-losses of 1e-4, 1e-3 and 1e-2, of coupled decays of 0.01 and 0.1 and of
independent ones of 1e-4, 1e-3 and 1e-2 the largest were kept, and no smaller one was tried on the deciding seeds. A
peak of 0.01 was dropped from the extrapolation, and seeds were added to it, when seeds differed there by a factor of
two; the extrapolation itself was never seen whole before the deciding run.

All claims hold at the ``cpu`` preset, seven of them by the mean alone: three seeds do not settle differences of the
sensitivity of a few hundredths of a nat, nor six the extrapolation. What the claims do not say, the tables do:

* c1: the warmup of 20% ends lowest at every peak, but from 5% (S = 0.124) to 20% (0.135) the least loss falls as much
  as the others, so S does not. Only the step from 1% (0.198) lowers it.
* c2: independent decay is no less sensitive than no decay (0.125 and 0.124); a coupled one is more (0.153).
* c3: Peri-LN bears high peaks without query and key norms (S = 0.095), yet its attention logits grow as those of Pre-LN
  do: they are the mark of an instability that it has another remedy for.
* b1 is decided at a peak of 1, where log Z jumps in the first tenth of training and returns; at the other high peaks it
  wanders by about one nat around its start of 6. The slow divergence of long runs is not seen in 300 updates: the
  z-loss holds log Z at zero, where nothing else would put it.
* e1: at a peak of 0.1 the gradients hardly fall with the size; e2: above 0.1 they grow again with the rate.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from lrstudy.parametrization import learning_rate_sensitivity
from lrstudy.study import claims as statistics
from lrstudy.study.claims import Claim, Measurement, exponentiated, jackknife, mean_interval
from lrstudy.study.errors import StudyError
from lrstudy.study.records import Records

if TYPE_CHECKING:
    import pandas as pd

Measure = Callable[[Records], Measurement]

VOCABULARY = 256
HIGH = 0.1
"""From this rate on, a few times the best one, rates are high."""
COMPARABLE, LARGE = 1e-3, 1e-2
"""An epsilon of the order of the gradients of these models, and one above."""

Z_LOSS = 0.01
"""The paper's 1e-4 acts over 1e5 updates; in some hundred of them it moves nothing, so it is larger here."""
DEFAULT: Mapping[str, Any] = {
    "model.norm": "pre",
    "model.qk_norm": True,
    "task.z_loss": Z_LOSS,
    "optimizer.weight_decay": 0.0,
    "warmup": 0.05,
}
"""The arm that all others differ from in one thing, or two; ``warmup`` is a share of the updates."""
ARMS: Mapping[str, Mapping[str, Any]] = {
    "default": {},
    "short_warmup": {"warmup": 0.01},
    "long_warmup": {"warmup": 0.2},
    "coupled": {"optimizer.weight_decay": 0.1},
    "independent": {"optimizer.weight_decay": 0.01},
    "no_z_loss": {"task.z_loss": 0.0},
    "no_qk_norm": {"model.qk_norm": False},
    "peri": {"model.norm": "peri"},
    "peri_no_qk_norm": {"model.norm": "peri", "model.qk_norm": False},
}
"""Arm to what it has in place of the default's. A decay of 0.1 is times the rate, one of 0.01 times its share of the
peak."""

_PROXIES, _PERI = "arXiv 2309.14322", "arXiv 2502.02732"


# -- selection ---------------------------------------------------------------------------------------------------------


def warmup_steps(share: float, steps: int) -> int:
    """Updates of a warmup that is a share of all."""
    return round(share * steps)


def columns(name: str, steps: int) -> dict[str, Any]:
    """Path to value of what tells an arm from all others.

    Args:
        name: of ``ARMS``.
        steps: updates of a run.
    """
    own = {**DEFAULT, **ARMS[name]}
    return {"schedule.warmup_steps": warmup_steps(own.pop("warmup"), steps), **own}


def arm(records: Records, name: str) -> Records:
    """The runs of one arm, over all peaks and seeds.

    Raises:
        StudyError: there are none.
    """
    part = records.part("arms")
    if not len(part.runs):
        raise StudyError("no run of an arm has begun")
    own = columns(name, int(part.runs["steps"].iloc[0]))
    return part.where(**{path.replace(".", "__"): value for path, value in own.items()})


def by_rate(records: Records, metric: str) -> "pd.DataFrame":
    """A final metric, peaks (index) by seeds (columns), both increasing; NaN where a run diverged."""
    runs = records.runs[["schedule.peak", "seed", metric]].astype(float)
    return runs.pivot_table(index="schedule.peak", columns="seed", values=metric, dropna=False).sort_index()


def log_z(records: Records, rate: float) -> "pd.DataFrame":
    """Mean log Z by updates made (index, from 0 to the end) and seed (columns) at one peak."""
    return records.where(schedule__peak=rate).curves("log_z").sort_index()


def initial_losses(records: Records) -> "pd.Series":
    """Validation loss before the first update, by seed."""
    rows = records.metrics[records.metrics["step"] == 0].merge(records.runs[["run_id", "seed"]], on="run_id")
    return rows.groupby("seed")["validation_loss"].first().astype(float)


def sensitivities(records: Records) -> np.ndarray:
    """The sensitivity to the rate over all peaks that were run, seed by seed."""
    losses, initial = by_rate(records, "validation_loss"), initial_losses(records)
    return np.asarray([learning_rate_sensitivity(losses[seed].to_list(), initial[seed]) for seed in losses.columns])


def parameters(records: Records) -> "pd.Series":
    """The number of parameters of every run: rotary positions, no biases, an untied readout."""
    runs = records.runs
    width, layers = (runs[f"model.{name}"].astype(int) for name in ("width", "layers"))
    head_width = width // runs["model.heads"].astype(int)
    # Tables of embedding and readout, and the final norm; four projections, two of the feed-forward layer, norms.
    kernels = (4 + 2 * runs["model.expansion"].astype(int)) * width**2
    gains = 2 * width * (1 + (runs["model.norm"] == "peri"))
    gains += 2 * head_width * runs["model.qk_norm"].astype(int)
    return 2 * VOCABULARY * width + width + layers * (kernels + gains)


def root_mean_squares(records: Records) -> "pd.DataFrame":
    """Every run's columns, and of the second half of training the means of its gradients and updates.

    Added are ``parameters``, ``gradient`` and ``update``: the root mean square over parameters, the update's as a
    multiple of the rate, averaged over the recorded steps from the middle of training on.
    """
    runs = records.runs.assign(parameters=parameters(records))
    rows = records.metrics.merge(runs[["run_id", "steps", "parameters"]], on="run_id")
    rows = rows[rows["step"] >= rows["steps"] // 2]
    scale = 1 / np.sqrt(rows["parameters"].astype(float))
    rows = rows.assign(
        gradient=rows["grad_norm_l2"] * scale, update=rows["update_norm"] * scale / rows["learning_rate"]
    )
    return runs.merge(rows.groupby("run_id")[["gradient", "update"]].mean(), on="run_id", how="left")


def logits_by_size(records: Records, rate: float) -> "pd.DataFrame":
    """Final largest attention logit at one peak, parameters (index) by seeds (columns), both increasing."""
    own = records.part("sizes").where(schedule__peak=rate)
    runs = own.runs.assign(parameters=parameters(own))
    table = runs.pivot_table(index="parameters", columns="seed", values="max_attention_logit", dropna=False)
    return table.astype(float).sort_index()


def size_rates(records: Records) -> list[float]:
    """The peaks at which sizes are compared, increasing."""
    return sorted(records.part("sizes").runs["schedule.peak"].astype(float).unique())


def fitted(logits: "pd.DataFrame", sizes: Sequence[float]) -> np.ndarray:
    """The logit at some sizes, by the parabola in log-log through all sizes of the table but the largest.

    Least squares through the means over seeds of the logarithms.

    Args:
        logits: see ``logits_by_size``.
        sizes: numbers of parameters.

    Raises:
        StudyError: fewer than three sizes are smaller than the largest, or a run diverged.
    """
    values = np.log(logits.to_numpy(float))
    if len(values) < 4 or not np.isfinite(values).all():
        raise StudyError("a parabola needs finite logits at three sizes below the one that is predicted")
    x = np.log(logits.index.to_numpy(float))
    # Centred, so that the powers of the size are far from collinear.
    curve = np.polyfit(x[:-1] - x.mean(), values[:-1].mean(axis=1), 2)
    return np.exp(np.polyval(curve, np.log(np.asarray(sizes, float)) - x.mean()))


# -- measures ----------------------------------------------------------------------------------------------------------


def _log_ratio(over: "pd.Series", under: "pd.Series") -> Measurement:
    """The ratio of two positive numbers by their logarithms' mean over seeds."""
    difference = np.log(over.sort_index().to_numpy(float)) - np.log(under.sort_index().to_numpy(float))
    return exponentiated(mean_interval(difference))


def _logit_growth(records: Records) -> Measurement:
    """Final largest attention logit without query and key norms: at the highest peak over at the lowest."""
    logits = by_rate(arm(records, "no_qk_norm"), "max_attention_logit")
    return _log_ratio(logits.iloc[-1], logits.iloc[0])


def _logits_with_norm(records: Records) -> Measurement:
    """Final largest attention logit at the highest peak: with query and key norms over without."""
    found = [by_rate(arm(records, name), "max_attention_logit").iloc[-1] for name in ("default", "no_qk_norm")]
    return _log_ratio(*found)


def _less_sensitive(without: str, with_it: str) -> Measure:
    """The sensitivity of one arm less that of another, paired by seed."""

    def measure(records: Records) -> Measurement:
        first, second = (sensitivities(arm(records, name)) for name in (without, with_it))
        return mean_interval(first - second)

    return measure


def high_rates(records: Records) -> list[float]:
    """The peaks of an arm that are high, increasing.

    Raises:
        StudyError: none is.
    """
    rates = sorted({rate for rate in records.runs["schedule.peak"].astype(float) if rate >= HIGH})
    if not rates:
        raise StudyError(f"no run has a peak of at least {HIGH}")
    return rates


def _drift(records: Records) -> Measurement:
    """How far log Z ever gets from where it began, without a z-loss: at the high peak at which that is farthest."""
    own = arm(records, "no_z_loss")
    curves = [log_z(own, rate) for rate in high_rates(own)]
    moved = [(curve - curve.iloc[0]).abs().max().to_numpy() for curve in curves]
    return statistics.largest(lambda level: [mean_interval(one, level) for one in moved])


def _held(records: Records) -> Measurement:
    """Final distance of log Z from zero with a z-loss over that without: at the high peak at which that is worst."""
    held, free = (by_rate(arm(records, name), "log_z").abs() for name in ("default", "no_z_loss"))
    pairs = [(held.loc[rate].to_numpy(), free.loc[rate].to_numpy()) for rate in high_rates(arm(records, "default"))]
    return statistics.largest(lambda level: [statistics.ratio(*pair, level) for pair in pairs])


def _prediction_error(place: int) -> Measure:
    """Predicted largest logit of the largest model over the measured one, less one, at one of the peaks."""

    def measure(records: Records) -> Measurement:
        rates = size_rates(records)
        logits = logits_by_size(records, rates[min(place, len(rates) - 1)])
        largest = logits.index[-1]

        def error(seeds: np.ndarray) -> float:
            chosen = logits.iloc[:, seeds]
            measured = np.exp(np.log(chosen.loc[largest].to_numpy(float)).mean())
            return float(fitted(chosen, [largest])[0] / measured - 1)

        return statistics.absolute(jackknife(error, logits.shape[1]))

    return measure


def gradients(records: Records) -> "pd.DataFrame":
    """Root mean square of the gradient, (parameters, peak) by seeds."""
    found = root_mean_squares(records.part("sizes"))
    return found.pivot_table(index=["parameters", "schedule.peak"], columns="seed", values="gradient")


def _gradient_against_size(records: Records) -> Measurement:
    """The gradient's root mean square as a power of the number of parameters, at the lowest of the sizes' peaks."""
    table = gradients(records).xs(size_rates(records)[0], level="schedule.peak")
    x = np.log(table.index.to_numpy(float))
    return mean_interval(np.polyfit(x, np.log(table.to_numpy(float)), 1)[0])


def gradients_by_rate(records: Records) -> "pd.DataFrame":
    """Root mean square of the gradient, peaks (index) by seeds (columns), both increasing.

    Args:
        records: of one arm.
    """
    found = root_mean_squares(records)
    return found.pivot_table(index="schedule.peak", columns="seed", values="gradient").astype(float).sort_index()


def _gradient_against_rate(records: Records) -> Measurement:
    """The gradient's root mean square at the first high peak over that at the lowest."""
    table = gradients_by_rate(arm(records, "default"))
    return _log_ratio(table.loc[table.index >= HIGH].iloc[0], table.iloc[0])


def updates_by_epsilon(records: Records, width: int) -> "pd.DataFrame":
    """Root mean square of the update as a multiple of the rate, epsilons (index) by seeds (columns)."""
    found = root_mean_squares(records.part("epsilon").where(model__width=width))
    return found.pivot_table(index="optimizer.eps", columns="seed", values="update").astype(float).sort_index()


def epsilon_widths(records: Records) -> list[int]:
    """The widths of the models in which epsilons are compared, increasing."""
    return sorted(records.part("epsilon").runs["model.width"].astype(int).unique())


def updates_left(records: Records, place: int, epsilon: float) -> "pd.Series":
    """The update's root mean square at an epsilon over that at the least one, by seed.

    Args:
        records: of the study.
        place: of the model among those by increasing width.
        epsilon: one of those that were run.
    """
    updates = updates_by_epsilon(records, epsilon_widths(records)[place])
    return updates.loc[epsilon] / updates.iloc[0]


def _collapse(epsilon: float) -> Measure:
    """What an epsilon leaves of the update of the widest model."""
    return lambda records: exponentiated(mean_interval(np.log(updates_left(records, -1, epsilon).to_numpy())))


def _collapses_with_size(records: Records) -> Measurement:
    """What is left of the update in the widest model over what is left in the narrowest, at one epsilon."""
    return _log_ratio(*(updates_left(records, place, COMPARABLE) for place in (-1, 0)))


def _repair(records: Records) -> Measurement:
    """The farthest that any epsilon up to 1e-8 takes the update's root mean square from that at the least epsilon."""
    tables = [updates_by_epsilon(records, width) for width in epsilon_widths(records)]
    ratios = [np.log(t[t.index <= 1e-8].iloc[-1] / t.iloc[0]).abs().to_numpy() for t in tables]
    return statistics.largest(lambda level: [mean_interval(one, level) for one in ratios])


def _loss_of_epsilon(records: Records) -> Measurement:
    """Final validation loss of the widest model at an epsilon like the gradient less that at the least one."""
    own = records.part("epsilon").where(model__width=epsilon_widths(records)[-1])
    least = own.runs["optimizer.eps"].min()
    losses = [own.where(optimizer__eps=eps).final("validation_loss").to_numpy() for eps in (COMPARABLE, least)]
    return mean_interval(losses[0] - losses[1])


_LOGITS, _Z, _S = "Attention logits: ", "Output logits: ", "Sensitivity to the rate: "
_SIZE, _EPS = "Extrapolation: ", "Epsilon: "
_PLACES = ("lower", "higher")

CLAIMS: Sequence[Claim] = (
    Claim("a1", _LOGITS + "largest at the highest peak over that at the lowest, without query and key norms", _PROXIES,
          ("arms",), _logit_growth, ">", 100.0),
    Claim("a2", _LOGITS + "largest at the highest peak, with query and key norms over without", _PROXIES,
          ("arms",), _logits_with_norm, "<", 0.01),
    Claim("a3", _S + "without query and key norms minus with, nats", _PROXIES, ("arms",),
          _less_sensitive("no_qk_norm", "default"), ">", 0.05),
    Claim("b1", _Z + "farthest log Z gets from its start without z-loss, at the worst high peak, nats", _PROXIES,
          ("arms",), _drift, ">", 1.0),
    Claim("b2", _Z + "final |log Z|, with z-loss over without, at the worst high peak", _PROXIES,
          ("arms",), _held, "<", 0.25),
    Claim("b3", _S + "without z-loss minus with, nats", _PROXIES, ("arms",),
          _less_sensitive("no_z_loss", "default"), ">", 0.0),
    Claim("c1", _S + "warmup of 1% minus of 20% of the updates, nats", _PROXIES, ("arms",),
          _less_sensitive("short_warmup", "long_warmup"), ">", 0.0),
    Claim("c2", _S + "coupled weight decay minus independent, nats", _PROXIES, ("arms",),
          _less_sensitive("coupled", "independent"), ">", 0.0),
    Claim("c3", _S + "Pre-LN minus Peri-LN, both without query and key norms, nats", _PERI,
          ("arms",), _less_sensitive("no_qk_norm", "peri_no_qk_norm"), ">", 0.0),
    Claim("c4", _S + "Pre-LN minus Peri-LN, both with query and key norms, nats", _PERI, ("arms",),
          _less_sensitive("default", "peri"), ">", 0.0),
    *(Claim(f"d{place + 1}", _SIZE + f"error of the largest model's largest attention logit, {name} peak", _PROXIES,
            ("sizes",), _prediction_error(place), "<=", 0.3) for place, name in enumerate(_PLACES)),
    Claim("e1", _EPS + "the gradient's RMS as a power of the number of parameters, at the lower of the sizes' peaks",
          _PROXIES, ("sizes",), _gradient_against_size, "<", 0.0),
    Claim("e2", _EPS + "the gradient's RMS at the first high peak over that at the lowest", _PROXIES,
          ("arms",), _gradient_against_rate, "<", 1.0),
    Claim("e3", _EPS + "the update's RMS at epsilon 1e-3 over that at the least, widest model", _PROXIES, ("epsilon",),
          _collapse(COMPARABLE), "<", 0.75),
    Claim("e4", _EPS + "the update's RMS at epsilon 1e-2 over that at the least, widest model", _PROXIES, ("epsilon",),
          _collapse(LARGE), "<", 0.3),
    Claim("e5", _EPS + "what epsilon 1e-3 leaves of the update, widest model over narrowest", _PROXIES, ("epsilon",),
          _collapses_with_size, "<", 1.0),
    Claim("e6", _EPS + "|log| of the update's RMS at epsilon 1e-8 over that at the least, worst width", _PROXIES,
          ("epsilon",), _repair, "<", 0.05),
    Claim("e7", _EPS + "validation loss at epsilon 1e-3 minus at the least, widest model, nats", _PROXIES, ("epsilon",),
          _loss_of_epsilon, ">", 0.0),
)  # fmt: skip
