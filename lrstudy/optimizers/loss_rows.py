"""The optimizers of the table that look at the loss of the batch at other parameters than the current ones."""

import math
from collections.abc import Mapping
from typing import Any

import optax

from lrstudy.optimizers.directions import DIRECTIONS, Around, LearningRate, Number, alone, direction, stepped
from lrstudy.optimizers.float32_state import with_float32_state
from lrstudy.optimizers.row import ALONG, ALONG_BOUNDS, MOMENTS, POSITIVE, Optimizer, always, inner_family
from lrstudy.optimizers.sharpness_aware import sam
from lrstudy.optimizers.sophia import sophia_direction

_PRODUCT = 2
"""Gradients that a product with the Hessian costs: the gradient, and its derivative along a vector."""


def _sam(
    learning_rate: LearningRate, *, inner: str, rho: Number, around: Around = None, **numbers: Number
) -> optax.GradientTransformation:
    alone("sam", around, "it climbs by one length over all tensors, which widths change by rules of its own")
    return with_float32_state(sam(stepped(direction(inner, **numbers), learning_rate), rho))


def _sophia(
    learning_rate: LearningRate, *, weight_decay: Number, around: Around = None, **settings: Any
) -> optax.GradientTransformation:
    alone("sophia", around, "a factor on a gradient is another on its Hessian")
    return with_float32_state(stepped(sophia_direction(**settings), learning_rate, weight_decay))


def _sophia_gradients(hyperparameters: Mapping[str, Any]) -> float:
    return 1 + _PRODUCT / hyperparameters["update_interval"]


ROWS: dict[str, Optimizer] = {
    "sam": Optimizer(
        build=_sam,
        defaults={**ALONG, "rho": 0.05},
        bounds={**ALONG_BOUNDS, "rho": POSITIVE},
        choices={"inner": DIRECTIONS},
        extra_args=("grad_fn",),
        family_of=inner_family,
        paper="Foret et al. 2021, arXiv 2010.01412",
        scaled=False,
        gradients_of=lambda _: 2,
    ),
    "sophia": Optimizer(
        build=_sophia,
        defaults={
            "b1": 0.965,
            "b2": 0.99,
            "eps": 1e-8,
            "gamma": 0.01,
            "clip_threshold": 1.0,
            "update_interval": 10,
            "weight_decay": 1e-4,
        },
        bounds={
            **MOMENTS,
            "gamma": POSITIVE,
            "clip_threshold": POSITIVE,
            "update_interval": (1, math.inf),
            "weight_decay": POSITIVE,
        },
        extra_args=("obj_fn",),
        family_of=always("adam"),
        paper="Liu et al. 2023, arXiv 2305.14342",
        scaled=False,
        gradients_of=_sophia_gradients,
    ),
}
