"""The optimizers of the table that adapt the rate they are given."""

import math
from collections.abc import Callable
from typing import Any

import optax

from lrstudy.optimizers.cocob import cocob
from lrstudy.optimizers.dadaptation import dadapt_adamw, prodigy
from lrstudy.optimizers.directions import (
    DIRECTIONS,
    Around,
    LearningRate,
    Number,
    alone,
    direction,
    wrapped,
)
from lrstudy.optimizers.distance_over_gradients import dog, dowg
from lrstudy.optimizers.fedhyper import KINDS, PRODUCTS, fedhyper
from lrstudy.optimizers.float32_state import with_float32_state
from lrstudy.optimizers.hypergradient import KINDS as HYPERGRADIENT_KINDS
from lrstudy.optimizers.hypergradient import hypergradient
from lrstudy.optimizers.mechanic import mechanic
from lrstudy.optimizers.momo import momo, momo_adam
from lrstudy.optimizers.plateau import plateau
from lrstudy.optimizers.row import ALONG, ALONG_BOUNDS, MOMENTS, POSITIVE, Optimizer, always, inner_family

_FIRST = (1e-12, math.inf)
"""Of a first guess, which everything grows from; its square must be a float32."""


def _hypergradient(
    learning_rate: LearningRate,
    *,
    inner: str,
    kind: str,
    beta: Number,
    low: Number,
    high: Number,
    around: Around = None,
    **numbers: Number,
) -> optax.GradientTransformation:
    along = wrapped(direction(inner, **numbers), around)
    return with_float32_state(hypergradient(along, learning_rate, beta=beta, kind=kind, bounds=(low, high)))


def _plateau(
    learning_rate: LearningRate,
    *,
    inner: str,
    factor: Number,
    patience: int,
    cooldown: int,
    accumulation: int,
    min_scale: Number,
    around: Around = None,
    **numbers: Number,
) -> optax.GradientTransformation:
    return with_float32_state(
        plateau(
            wrapped(direction(inner, **numbers), around),
            learning_rate,
            factor=factor,
            patience=patience,
            cooldown=cooldown,
            accumulation=accumulation,
            min_scale=min_scale,
        )
    )


def _fedhyper(learning_rate: LearningRate, *, around: Around = None, **settings: Any) -> optax.GradientTransformation:
    alone("fedhyper", around, "a server adds its clients' change, which is no gradient")
    return with_float32_state(fedhyper(learning_rate, **settings))


def _estimating(
    name: str, method: Callable[..., optax.GradientTransformation]
) -> Callable[..., optax.GradientTransformation]:
    def build(learning_rate: LearningRate, *, around: Around = None, **settings: Any) -> optax.GradientTransformation:
        alone(name, around, "it estimates one rate from steps that are scaled alike")
        return with_float32_state(method(learning_rate, **settings))

    return build


def _mechanic(
    learning_rate: LearningRate, *, b1: Number, b2: Number, eps: Number, around: Around = None, **settings: Any
) -> optax.GradientTransformation:
    along = wrapped(optax.scale_by_adam(b1, b2, eps), around)
    return with_float32_state(mechanic(along, learning_rate, **settings))


ROWS: dict[str, Optimizer] = {
    "cocob": Optimizer(
        build=_estimating("cocob", cocob),
        defaults={"caution": 100.0, "eps": 1e-8},
        bounds={"caution": POSITIVE, "eps": _FIRST},
        family_of=always("adam"),
        paper="Orabona & Tommasi 2017, arXiv 1705.07795",
        scaled=False,
    ),
    "dadapt_adamw": Optimizer(
        build=_estimating("dadapt_adamw", dadapt_adamw),
        defaults={"b1": 0.9, "b2": 0.999, "eps": 1e-8, "weight_decay": 0.0, "initial_rate": 1e-6},
        bounds={**MOMENTS, "weight_decay": POSITIVE, "initial_rate": _FIRST},
        family_of=always("adam"),
        paper="Defazio & Mishchenko 2023, arXiv 2301.07733",
        scaled=False,
    ),
    "dog": Optimizer(
        build=_estimating("dog", dog),
        defaults={"eps": 1e-8, "weight_decay": 0.0, "initial_distance": 1e-6},
        bounds={"eps": POSITIVE, "weight_decay": POSITIVE, "initial_distance": _FIRST},
        family_of=always("sgd"),
        paper="Ivgi et al. 2023, arXiv 2302.12022",
        scaled=False,
    ),
    "dowg": Optimizer(
        build=_estimating("dowg", dowg),
        defaults={"eps": 1e-4, "weight_decay": 0.0, "initial_distance": 1e-2},
        bounds={"eps": POSITIVE, "weight_decay": POSITIVE, "initial_distance": _FIRST},
        family_of=always("sgd"),
        paper="Khaled et al. 2023, arXiv 2305.16284",
        scaled=False,
    ),
    "fedhyper": Optimizer(
        build=_fedhyper,
        defaults={"kind": "G", "product": "raw", "beta": 1.0, "momentum": 0.9},
        bounds={"beta": POSITIVE, "momentum": (0.0, 1.0)},
        choices={"kind": KINDS, "product": PRODUCTS},
        family_of=always("sgd"),
        paper="Wang et al. 2023, arXiv 2310.03156",
        scaled=False,
    ),
    "hypergradient": Optimizer(
        build=_hypergradient,
        defaults={**ALONG, "kind": "add", "beta": 1e-4, "low": 0.0, "high": 1e6},
        bounds={**ALONG_BOUNDS, "beta": POSITIVE, "low": POSITIVE, "high": POSITIVE},
        choices={"inner": DIRECTIONS, "kind": HYPERGRADIENT_KINDS},
        family_of=inner_family,
        paper="Baydin et al. 2018, arXiv 1703.04782",
    ),
    "mechanic": Optimizer(
        build=_mechanic,
        defaults={
            "b1": 0.9,
            "b2": 0.999,
            "eps": 1e-8,
            "weight_decay": 0.0,
            "regularisation": 0.01,
            "initial_scale": 1e-6,
            "num_betas": 6,
        },
        bounds={
            **MOMENTS,
            "weight_decay": POSITIVE,
            "regularisation": POSITIVE,
            "initial_scale": _FIRST,
            "num_betas": (1, math.inf),
        },
        family_of=always("adam"),
        paper="Cutkosky et al. 2023, arXiv 2306.00144",
    ),
    "momo": Optimizer(
        build=_estimating("momo", momo),
        defaults={"beta": 0.9, "weight_decay": 0.0, "lower_bound": 0.0, "adapt_lower_bound": False},
        bounds={"beta": (0.0, 1.0), "weight_decay": POSITIVE},
        family_of=always("sgd"),
        paper="Schaipp et al. 2023, arXiv 2305.07583",
        scaled=False,
        extra_args=("value",),
    ),
    "momo_adam": Optimizer(
        build=_estimating("momo_adam", momo_adam),
        defaults={
            "b1": 0.9,
            "b2": 0.999,
            "eps": 1e-8,
            "weight_decay": 0.0,
            "lower_bound": 0.0,
            "adapt_lower_bound": False,
        },
        bounds={**MOMENTS, "weight_decay": POSITIVE},
        family_of=always("adam"),
        paper="Schaipp et al. 2023, arXiv 2305.07583",
        scaled=False,
        extra_args=("value",),
    ),
    "plateau": Optimizer(
        build=_plateau,
        defaults={**ALONG, "factor": 0.1, "patience": 10, "cooldown": 0, "accumulation": 10, "min_scale": 0.0},
        bounds={
            **ALONG_BOUNDS,
            "factor": (0.0, 1.0),
            "patience": (1, math.inf),
            "cooldown": (0, math.inf),
            "accumulation": (1, math.inf),
            "min_scale": (0.0, 1.0),
        },
        choices={"inner": DIRECTIONS},
        extra_args=("value",),
        family_of=inner_family,
        paper="optax.contrib.reduce_on_plateau; the rule is older than its papers",
    ),
    "prodigy": Optimizer(
        build=_estimating("prodigy", prodigy),
        defaults={
            "b1": 0.9,
            "b2": 0.999,
            "eps": 1e-8,
            "weight_decay": 0.0,
            "initial_rate": 1e-6,
            "coefficient": 1.0,
            "bias_correction": False,
            "safeguard_warmup": False,
        },
        bounds={**MOMENTS, "weight_decay": POSITIVE, "initial_rate": _FIRST, "coefficient": POSITIVE},
        family_of=always("adam"),
        paper="Mishchenko & Defazio 2023, arXiv 2306.06101",
        scaled=False,
    ),
}
