"""The optimizers that a study can name."""

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Any

import jax
import optax

from lrstudy.feedback import trained_params
from lrstudy.optimizers.float32_state import with_float32_state

Number = float | jax.Array
LearningRate = Number | optax.Schedule


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
    """

    build: Callable[..., optax.GradientTransformation]
    defaults: Mapping[str, Any]
    paper: str
    eval_params: Callable[[optax.OptState, Any], Any] = trained_params
    extra_args: tuple[str, ...] = ()
    bounds: Mapping[str, tuple[float, float]] = dataclasses.field(default_factory=dict)


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


_MOMENTS = {"b1": (0.0, 1.0), "b2": (0.0, 1.0), "eps": (0.0, math.inf)}

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
    "momentum": Optimizer(
        build=_momentum,
        defaults={"momentum": 0.9, "nesterov": False},
        bounds={"momentum": (0.0, 1.0)},
        paper="Polyak 1964; Sutskever et al. 2013 for Nesterov's form",
    ),
    "sgd": Optimizer(build=_sgd, defaults={}, paper="Robbins & Monro 1951"),
}
