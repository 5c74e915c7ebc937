"""Rows of the optimizers' table as submissions: under which schedule, and where their trials look."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import optax

from lrstudy.benchmark.space import Point, Range, Space
from lrstudy.benchmark.submission import Submission
from lrstudy.optimizers import TABLE, Optimizer
from lrstudy.schedules import Constant, Cosine
from lrstudy.schedules.checks import one_of

RATE = "learning_rate"
COMPLEMENT = "one_minus_"
"""Prefix of a hyperparameter that is searched by what is left of it to 1, as decays of moments are."""

END_SHARE = "end_share"
"""The rate at the end over that of the peak, which a trial may search as if it were a hyperparameter of its row."""

WARMUP_SHARE = 0.05
"""Of the updates; after it the rate falls by a cosine, to 0 at ``step_hint`` or to its ``END_SHARE`` of the peak, or
stays where the row keeps it."""

_CONSTANT = {"hypergradient", "plateau", "schedule_free_adamw", "schedule_free_sgd"}

_RATES = {
    "adafactor": Range(3e-3, 0.3),
    "adam": Range(5e-3, 0.1),
    "lion": Range(1e-4, 1e-2),
    "muon": Range(1e-3, 0.1),
    "sgd": Range(1e-2, 1.0),
}
"""Family to the rates that are searched, of models as small as the workloads': Adam's are those that set targets."""

_FACTOR = Range(0.3, 3.0)
_OWN_RATES = {
    **dict.fromkeys(("cocob", "dadapt_adamw", "dog", "dowg", "mechanic", "prodigy"), _FACTOR),
    "lars": Range(1.0, 100.0),
    "momo": Range(0.1, 10.0),
    "momo_adam": Range(1e-3, 0.1),
    "sophia": Range(1e-3, 3e-2),
}
"""Rows whose rate is no rate of their family: a factor on what they estimate, which is 1 as published; the most that
MoMo's may be; of LARS a rate of tensors' own size, which its coefficient divides by a thousand; of Sophia lower rates
than Adam's, since most entries of its first steps are as large as they may be."""

# What the paper's baselines search beside the rate (Dahl et al. 2023, arXiv 2306.07179). Others search the rate alone:
# five points do not fill more.
_DECAY = Range(5e-3, 1.0)
_BESIDE: Mapping[str, Space] = {
    "adamw": {"one_minus_b1": Range(0.02, 0.5), "weight_decay": _DECAY},
    "momentum": {"one_minus_momentum": Range(5e-3, 0.3)},
    "nadamw": {"one_minus_b1": Range(4e-3, 0.1), "weight_decay": _DECAY},
}


def row(
    name: str,
    *,
    label: str | None = None,
    space: Space | None = None,
    points: Sequence[Point] | None = None,
    **fixed: Any,
) -> Submission:
    """A row of ``optimizers.TABLE`` as a submission.

    Args:
        name: of the row.
        label: the submission's name; ``None``: the row's.
        space: ranges of ``learning_rate``, of ``end_share`` and of the row's hyperparameters, one that is searched by
            what is left of it to 1 as ``one_minus_<hyperparameter>``.
        points: points to draw from instead; with neither: the row's own space.
        **fixed: hyperparameters that all trials share.

    Raises:
        ValueError: no such row or hyperparameter, none of ``learning_rate``, or a value that the row does not take.
    """
    if name not in TABLE:
        raise ValueError(f"submission must be {one_of(sorted(TABLE), name)}, got {name!r}")
    found = TABLE[name]
    if space is None and points is None:
        rates = _OWN_RATES[name] if name in _OWN_RATES else _RATES[found.family(fixed)]
        space = {RATE: rates, **_BESIDE.get(name, {})}
        space = {key: value for key, value in space.items() if key.removeprefix(COMPLEMENT) not in fixed}
    _check_names(name, found, [*(space or {}), *(points[0] if points else ())], fixed)
    ends = [(key, end) for key, one in (space or {}).items() for end in (one.low, one.high)]
    for key, value in (*fixed.items(), *ends, *(pair for point in points or () for pair in point.items())):
        _check_value(name, found, key, value)

    def make_transform(hyperparameters: Mapping[str, Any], step_hint: int) -> optax.GradientTransformation:
        given = {**found.defaults, **fixed}
        for key, value in hyperparameters.items():
            given[key.removeprefix(COMPLEMENT)] = 1 - value if key.startswith(COMPLEMENT) else value
        peak, warmup, end_share = given.pop(RATE), int(WARMUP_SHARE * step_hint), given.pop(END_SHARE, 0.0)
        if name in _CONSTANT:
            schedule = Constant(peak, warmup_steps=warmup, warmup_style="skip_zero")
        else:
            schedule = Cosine(peak, step_hint, warmup_steps=warmup, warmup_style="skip_zero", end=end_share * peak)
        return found.build(schedule, **given)

    origin = {"row": name, "hyperparameters": {**found.defaults, **fixed}}
    gradients = found.gradients_of({**found.defaults, **fixed})
    return Submission(label or name, make_transform, space, points, found.eval_params, gradients, origin)


def _check_names(name: str, found: Optimizer, searched: Iterable[str], fixed: Mapping[str, Any]) -> None:
    """Every hyperparameter is one of the row's and is given once, and the rate is among them.

    Raises:
        ValueError: one is not.
    """
    known = {RATE, *found.defaults} if name in _CONSTANT else {RATE, END_SHARE, *found.defaults}
    seen = set(fixed)
    for key in fixed:
        if key not in known:
            raise ValueError(f"a hyperparameter of {name} must be {one_of(sorted(known), key)}, got {key!r}")
    for key in searched:
        plain = key.removeprefix(COMPLEMENT)
        if plain not in known or not isinstance(found.defaults.get(plain, 0.0), float):
            numbers = sorted(k for k in known if isinstance(found.defaults.get(k, 0.0), float))
            rule = f"{one_of(numbers, plain)} or {COMPLEMENT} and one of these"
            raise ValueError(f"a hyperparameter of {name} that is searched must be {rule}, got {key!r}")
        if plain in seen:
            raise ValueError(f"a hyperparameter of {name} must be given once, got {plain!r} twice")
        seen.add(plain)
    if RATE not in seen:
        raise ValueError(f"{RATE} must be given for {name}, got {sorted(seen)}")


def _check_value(name: str, found: Optimizer, key: str, value: Any) -> None:
    """A value that the row takes.

    Raises:
        ValueError: it does not.
    """
    plain = key.removeprefix(COMPLEMENT)
    if plain in found.choices:
        if value not in found.choices[plain]:
            raise ValueError(f"{plain} of {name} must be {one_of(found.choices[plain], value)}, got {value!r}")
        return
    if isinstance(found.defaults.get(plain), bool):
        if type(value) is not bool:
            raise ValueError(f"{plain} of {name} must be True or False, got {value!r}")
        return
    outside = {RATE: (math.ulp(0.0), math.inf), END_SHARE: (0.0, math.nextafter(1.0, 2.0))}
    low, high = {**found.bounds, **outside}.get(plain, (-math.inf, math.inf))
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    number = 1 - value if is_number and key != plain else value
    if not is_number or not low <= number < high:
        rule = "a positive finite number" if plain == RATE else f"a number in [{low:g}, {high:g})"
        raise ValueError(f"{plain} of {name} must be {rule}, got {number!r}")
