"""The optimizers that a study can name."""

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Any

import jax
import optax

from lrstudy.feedback import trained_params
from lrstudy.optimizers.directions import DIRECTIONS, LearningRate, Number, direction
from lrstudy.optimizers.fedhyper import KINDS, PRODUCTS, fedhyper
from lrstudy.optimizers.float32_state import with_float32_state
from lrstudy.optimizers.hypergradient import KINDS as HYPERGRADIENT_KINDS
from lrstudy.optimizers.hypergradient import hypergradient
from lrstudy.optimizers.plateau import plateau
from lrstudy.optimizers.schedule_free import averaged_params, schedule_free


@dataclasses.dataclass(frozen=True)
class Optimizer:
    """One row of the table.

    Attributes:
        build: ``build(learning_rate, **hyperparameters)``; the hyperparameters may be traced, so that optimizers which
            differ in numbers alone share one compiled program.
        defaults: every hyperparameter and its default. Numbers become lanes of a sweep, other values groups.
        eval_params: ``(opt_state, params) -> params`` at which the loss is evaluated.
        extra_args: names of the extra arguments that ``update`` needs.
        paper: where the rule comes from.
        bounds: hyperparameter to the half-open interval ``[low, high)`` that it must be in.
        choices: hyperparameter to the names that it can be, for one that is a text.
    """

    build: Callable[..., optax.GradientTransformation]
    defaults: Mapping[str, Any]
    paper: str
    eval_params: Callable[[optax.OptState, Any], Any] = trained_params
    extra_args: tuple[str, ...] = ()
    bounds: Mapping[str, tuple[float, float]] = dataclasses.field(default_factory=dict)
    choices: Mapping[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)


def _matrices(params: Any) -> Any:
    """Decay acts on kernels and embeddings: every tensor with at least two axes."""
    return jax.tree.map(lambda p: p.ndim >= 2, params)


def _sgd(learning_rate: LearningRate) -> optax.GradientTransformation:
    return with_float32_state(optax.sgd(learning_rate))


def _adam(learning_rate: LearningRate, *, b1: Number, b2: Number, eps: Number) -> optax.GradientTransformation:
    return with_float32_state(optax.adam(learning_rate, b1=b1, b2=b2, eps=eps))


def _momentum(learning_rate: LearningRate, *, momentum: Number, nesterov: bool) -> optax.GradientTransformation:
    return with_float32_state(optax.sgd(learning_rate, momentum=momentum, nesterov=nesterov))


def _adamw(
    learning_rate: LearningRate, *, b1: Number, b2: Number, eps: Number, weight_decay: Number
) -> optax.GradientTransformation:
    return with_float32_state(
        optax.adamw(learning_rate, b1=b1, b2=b2, eps=eps, weight_decay=weight_decay, mask=_matrices)
    )


def _hypergradient(
    learning_rate: LearningRate, *, inner: str, kind: str, beta: Number, low: Number, high: Number, **numbers: Number
) -> optax.GradientTransformation:
    along = direction(inner, **numbers)
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
    **numbers: Number,
) -> optax.GradientTransformation:
    return with_float32_state(
        plateau(
            direction(inner, **numbers),
            learning_rate,
            factor=factor,
            patience=patience,
            cooldown=cooldown,
            accumulation=accumulation,
            min_scale=min_scale,
        )
    )


def _schedule_free_sgd(
    learning_rate: LearningRate, *, b1: Number, weight_decay: Number
) -> optax.GradientTransformation:
    decayed = optax.add_decayed_weights(weight_decay, mask=_matrices)
    return with_float32_state(schedule_free(decayed, learning_rate, b1=b1))


def _schedule_free_adamw(
    learning_rate: LearningRate, *, b1: Number, b2: Number, eps: Number, weight_decay: Number
) -> optax.GradientTransformation:
    # Adam without its first moment, which b1 replaces.
    ratio = optax.scale_by_rms(decay=b2, eps=eps, eps_in_sqrt=False, bias_correction=True)
    decayed = optax.chain(ratio, optax.add_decayed_weights(weight_decay, mask=_matrices))
    return with_float32_state(schedule_free(decayed, learning_rate, b1=b1))


def _fedhyper(
    learning_rate: LearningRate, *, kind: str, product: str, beta: Number, momentum: Number
) -> optax.GradientTransformation:
    return with_float32_state(fedhyper(learning_rate, kind=kind, product=product, beta=beta, momentum=momentum))


_POSITIVE = (0.0, math.inf)
_MOMENTS = {"b1": (0.0, 1.0), "b2": (0.0, 1.0), "eps": (0.0, math.inf)}

# What `directions.direction` wants: the published defaults of each.
_ALONG = {"inner": "sgd", "momentum": 0.9, "b1": 0.9, "b2": 0.999, "eps": 1e-8}
_ALONG_BOUNDS = {**_MOMENTS, "momentum": (0.0, 1.0)}

TABLE: dict[str, Optimizer] = {
    "adam": Optimizer(
        build=_adam,
        defaults={"b1": 0.9, "b2": 0.999, "eps": 1e-8},
        bounds=_MOMENTS,
        paper="Kingma & Ba 2015, arXiv 1412.6980",
    ),
    "adamw": Optimizer(
        build=_adamw,
        defaults={"b1": 0.9, "b2": 0.999, "eps": 1e-8, "weight_decay": 1e-4},
        bounds={**_MOMENTS, "weight_decay": (0.0, math.inf)},
        paper="Loshchilov & Hutter 2019, arXiv 1711.05101",
    ),
    "fedhyper": Optimizer(
        build=_fedhyper,
        defaults={"kind": "G", "product": "raw", "beta": 1.0, "momentum": 0.9},
        bounds={"beta": _POSITIVE, "momentum": (0.0, 1.0)},
        choices={"kind": KINDS, "product": PRODUCTS},
        paper="Wang et al. 2023, arXiv 2310.03156",
    ),
    "hypergradient": Optimizer(
        build=_hypergradient,
        defaults={**_ALONG, "kind": "add", "beta": 1e-4, "low": 0.0, "high": 1e6},
        bounds={**_ALONG_BOUNDS, "beta": _POSITIVE, "low": _POSITIVE, "high": _POSITIVE},
        choices={"inner": DIRECTIONS, "kind": HYPERGRADIENT_KINDS},
        paper="Baydin et al. 2018, arXiv 1703.04782",
    ),
    "momentum": Optimizer(
        build=_momentum,
        defaults={"momentum": 0.9, "nesterov": False},
        bounds={"momentum": (0.0, 1.0)},
        paper="Polyak 1964; Sutskever et al. 2013 for Nesterov's form",
    ),
    "plateau": Optimizer(
        build=_plateau,
        defaults={**_ALONG, "factor": 0.1, "patience": 10, "cooldown": 0, "accumulation": 10, "min_scale": 0.0},
        bounds={
            **_ALONG_BOUNDS,
            "factor": (0.0, 1.0),
            "patience": (1, math.inf),
            "cooldown": (0, math.inf),
            "accumulation": (1, math.inf),
            "min_scale": (0.0, 1.0),
        },
        choices={"inner": DIRECTIONS},
        extra_args=("value",),
        paper="optax.contrib.reduce_on_plateau; the rule is older than its papers",
    ),
    "schedule_free_adamw": Optimizer(
        build=_schedule_free_adamw,
        defaults={"b1": 0.9, "b2": 0.999, "eps": 1e-8, "weight_decay": 0.0},
        bounds={**_MOMENTS, "weight_decay": _POSITIVE},
        eval_params=averaged_params,
        paper="Defazio et al. 2024, arXiv 2405.15682",
    ),
    "schedule_free_sgd": Optimizer(
        build=_schedule_free_sgd,
        defaults={"b1": 0.9, "weight_decay": 0.0},
        bounds={"b1": (0.0, 1.0), "weight_decay": _POSITIVE},
        eval_params=averaged_params,
        paper="Defazio et al. 2024, arXiv 2405.15682",
    ),
    "sgd": Optimizer(build=_sgd, defaults={}, paper="Robbins & Monro 1951"),
}
