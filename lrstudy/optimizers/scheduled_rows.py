"""The optimizers of the table that apply their schedule as it is."""

import math
from collections.abc import Mapping
from typing import Any

import optax

from lrstudy.optimizers.ademamix import ademamix_direction
from lrstudy.optimizers.decay import decay_mask
from lrstudy.optimizers.directions import (
    DIRECTIONS,
    Around,
    LearningRate,
    Number,
    adafactor_direction,
    alone,
    direction,
    stepped,
    wrapped,
)
from lrstudy.optimizers.float32_state import with_float32_state
from lrstudy.optimizers.galore import galore_direction
from lrstudy.optimizers.lamb import lamb_direction
from lrstudy.optimizers.lion import lion_direction
from lrstudy.optimizers.muon import muon_direction
from lrstudy.optimizers.nadamw import RULES, nadam_direction
from lrstudy.optimizers.normalized import project_to_norm
from lrstudy.optimizers.orthogonal import orthogonal_gradient
from lrstudy.optimizers.row import ALONG, ALONG_BOUNDS, MOMENTS, POSITIVE, Optimizer, always, inner_family
from lrstudy.optimizers.schedule_free import averaged_params, schedule_free
from lrstudy.optimizers.trust_ratio import scale_by_trust_ratio

_RATIO = "its ratio undoes what scales a tensor, and holds its decay"


def _adafactor_family(hyperparameters: Mapping[str, Any]) -> str:
    return "adafactor" if hyperparameters["multiply_by_parameter_scale"] else "adam"


def _sgd(learning_rate: LearningRate, *, around: Around = None) -> optax.GradientTransformation:
    return with_float32_state(stepped(wrapped(optax.identity(), around), learning_rate))


def _adam(
    learning_rate: LearningRate, *, b1: Number, b2: Number, eps: Number, around: Around = None
) -> optax.GradientTransformation:
    return with_float32_state(stepped(wrapped(optax.scale_by_adam(b1, b2, eps), around), learning_rate))


def _momentum(
    learning_rate: LearningRate, *, momentum: Number, nesterov: bool, around: Around = None
) -> optax.GradientTransformation:
    return with_float32_state(stepped(wrapped(optax.trace(momentum, nesterov), around), learning_rate))


def _ema_momentum(
    learning_rate: LearningRate, *, momentum: Number, around: Around = None
) -> optax.GradientTransformation:
    return with_float32_state(stepped(wrapped(optax.ema(momentum, debias=False), around), learning_rate))


def _adamw(
    learning_rate: LearningRate, *, b1: Number, b2: Number, eps: Number, weight_decay: Number, around: Around = None
) -> optax.GradientTransformation:
    return with_float32_state(stepped(wrapped(optax.scale_by_adam(b1, b2, eps), around), learning_rate, weight_decay))


def _nadamw(
    learning_rate: LearningRate, *, rule: str, weight_decay: Number, around: Around = None, **numbers: Number
) -> optax.GradientTransformation:
    return with_float32_state(stepped(wrapped(nadam_direction(rule, **numbers), around), learning_rate, weight_decay))


def _ademamix(
    learning_rate: LearningRate, *, weight_decay: Number, around: Around = None, **settings: Any
) -> optax.GradientTransformation:
    return with_float32_state(stepped(wrapped(ademamix_direction(**settings), around), learning_rate, weight_decay))


def _lion(
    learning_rate: LearningRate, *, b1: Number, b2: Number, weight_decay: Number, around: Around = None
) -> optax.GradientTransformation:
    return with_float32_state(stepped(wrapped(lion_direction(b1=b1, b2=b2), around), learning_rate, weight_decay))


def _signum(
    learning_rate: LearningRate, *, beta: Number, weight_decay: Number, around: Around = None
) -> optax.GradientTransformation:
    # The sign sees no correction of the mean.
    signs = optax.chain(optax.ema(beta, debias=False), optax.scale_by_sign())
    return with_float32_state(stepped(wrapped(signs, around), learning_rate, weight_decay))


def _adafactor(
    learning_rate: LearningRate, *, weight_decay: Number, around: Around = None, **settings: Any
) -> optax.GradientTransformation:
    # optax multiplies by the rate before the parameter's scale, which commutes, and decays after it: there a decay
    # follows neither the rate nor its schedule. Here it does, as AdamW's and everybody else's.
    return with_float32_state(stepped(wrapped(adafactor_direction(**settings), around), learning_rate, weight_decay))


def _muon(
    learning_rate: LearningRate, *, weight_decay: Number, around: Around = None, **settings: Any
) -> optax.GradientTransformation:
    return with_float32_state(stepped(wrapped(muon_direction(**settings), around), learning_rate, weight_decay))


def _galore(
    learning_rate: LearningRate, *, weight_decay: Number, around: Around = None, **settings: Any
) -> optax.GradientTransformation:
    alone("galore", around, "its steps follow the rank of a projection, by no known rule")
    return with_float32_state(stepped(galore_direction(**settings), learning_rate, weight_decay))


def _lamb(
    learning_rate: LearningRate, *, weight_decay: Number, around: Around = None, **numbers: Number
) -> optax.GradientTransformation:
    alone("lamb", around, _RATIO)
    return with_float32_state(stepped(lamb_direction(weight_decay=weight_decay, **numbers), learning_rate))


def _lars(
    learning_rate: LearningRate,
    *,
    momentum: Number,
    nesterov: bool,
    coefficient: Number,
    weight_decay: Number,
    around: Around = None,
) -> optax.GradientTransformation:
    alone("lars", around, _RATIO)
    ratio = scale_by_trust_ratio("lars", weight_decay=weight_decay, coefficient=coefficient, mask=decay_mask)
    # As published, the momentum is of steps that have been multiplied by their rates.
    return with_float32_state(optax.chain(stepped(ratio, learning_rate), optax.trace(momentum, nesterov)))


def _nap(
    learning_rate: LearningRate, *, inner: str, around: Around = None, **numbers: Number
) -> optax.GradientTransformation:
    free = stepped(wrapped(direction(inner, **numbers), around), learning_rate)
    return with_float32_state(optax.chain(free, project_to_norm()))


def _perp_adamw(
    learning_rate: LearningRate, *, weight_decay: Number, around: Around = None, **numbers: Number
) -> optax.GradientTransformation:
    across = optax.chain(orthogonal_gradient(), optax.scale_by_adam(**numbers))
    return with_float32_state(stepped(wrapped(across, around), learning_rate, weight_decay))


def _schedule_free_sgd(
    learning_rate: LearningRate, *, b1: Number, weight_decay: Number, around: Around = None
) -> optax.GradientTransformation:
    decay = optax.add_decayed_weights(weight_decay, mask=decay_mask)
    along = decay if around is None else optax.chain(around(optax.identity()), decay)
    return with_float32_state(schedule_free(along, learning_rate, b1=b1))


def _schedule_free_adamw(
    learning_rate: LearningRate, *, b1: Number, b2: Number, eps: Number, weight_decay: Number, around: Around = None
) -> optax.GradientTransformation:
    # Adam without its first moment, which b1 replaces.
    ratio = optax.scale_by_rms(decay=b2, eps=eps, eps_in_sqrt=False, bias_correction=True)
    along = optax.chain(wrapped(ratio, around), optax.add_decayed_weights(weight_decay, mask=decay_mask))
    return with_float32_state(schedule_free(along, learning_rate, b1=b1))


ROWS: dict[str, Optimizer] = {
    "adafactor": Optimizer(
        build=_adafactor,
        defaults={
            "decay_rate": 0.8,
            "clipping_threshold": 1.0,
            "multiply_by_parameter_scale": True,
            "min_dim_size_to_factor": 128,
            "weight_decay": 0.0,
        },
        bounds={
            "decay_rate": POSITIVE,
            "clipping_threshold": (1e-3, math.inf),
            "min_dim_size_to_factor": (1, math.inf),
            "weight_decay": POSITIVE,
        },
        family_of=_adafactor_family,
        paper="Shazeer & Stern 2018, arXiv 1804.04235",
    ),
    "adam": Optimizer(
        build=_adam,
        defaults={"b1": 0.9, "b2": 0.999, "eps": 1e-8},
        bounds=MOMENTS,
        family_of=always("adam"),
        paper="Kingma & Ba 2015, arXiv 1412.6980",
    ),
    "adamw": Optimizer(
        build=_adamw,
        defaults={"b1": 0.9, "b2": 0.999, "eps": 1e-8, "weight_decay": 1e-4},
        bounds={**MOMENTS, "weight_decay": (0.0, math.inf)},
        family_of=always("adam"),
        paper="Loshchilov & Hutter 2019, arXiv 1711.05101",
    ),
    "ademamix": Optimizer(
        build=_ademamix,
        defaults={
            "b1": 0.9,
            "b2": 0.999,
            "b3": 0.9999,
            "slow_weight": 5.0,
            "eps": 1e-8,
            "warmup_steps": 0,
            "weight_decay": 0.0,
        },
        bounds={
            **MOMENTS,
            "b3": (0.0, 1.0),
            "slow_weight": POSITIVE,
            "warmup_steps": (0, math.inf),
            "weight_decay": POSITIVE,
        },
        family_of=always("adam"),
        paper="Pagliardini et al. 2024, arXiv 2409.03137",
    ),
    "ema_momentum": Optimizer(
        build=_ema_momentum,
        defaults={"momentum": 0.9},
        bounds={"momentum": (0.0, 1.0)},
        family_of=always("sgd"),
        paper="the momentum inside Adam: m <- b m + (1 - b) g",
    ),
    "galore": Optimizer(
        build=_galore,
        defaults={
            "rank": 128,
            "gap": 200,
            "scale": 1.0,
            "b1": 0.9,
            "b2": 0.999,
            "eps": 1e-8,
            "weight_decay": 0.0,
        },
        bounds={
            **MOMENTS,
            "rank": (1, math.inf),
            "gap": (1, math.inf),
            "scale": POSITIVE,
            "weight_decay": POSITIVE,
        },
        family_of=always("adam"),
        paper="Zhao et al. 2024, arXiv 2403.03507",
        scaled=False,
    ),
    "lamb": Optimizer(
        build=_lamb,
        defaults={"b1": 0.9, "b2": 0.999, "eps": 1e-6, "weight_decay": 0.0},
        bounds={**MOMENTS, "weight_decay": POSITIVE},
        family_of=always("adafactor"),
        paper="You et al. 2020, arXiv 1904.00962",
        scaled=False,
    ),
    "lars": Optimizer(
        build=_lars,
        defaults={"momentum": 0.9, "nesterov": False, "coefficient": 0.001, "weight_decay": 0.0},
        bounds={"momentum": (0.0, 1.0), "coefficient": POSITIVE, "weight_decay": POSITIVE},
        family_of=always("adafactor"),
        paper="You et al. 2017, arXiv 1708.03888",
        scaled=False,
    ),
    "lion": Optimizer(
        build=_lion,
        defaults={"b1": 0.9, "b2": 0.99, "weight_decay": 0.0},
        bounds={"b1": (0.0, 1.0), "b2": (0.1, 1.0), "weight_decay": POSITIVE},
        family_of=always("lion"),
        paper="Chen et al. 2023, arXiv 2302.06675",
    ),
    "momentum": Optimizer(
        build=_momentum,
        defaults={"momentum": 0.9, "nesterov": False},
        bounds={"momentum": (0.0, 1.0)},
        family_of=always("sgd"),
        paper="Polyak 1964; Sutskever et al. 2013 for Nesterov's form",
    ),
    "muon": Optimizer(
        build=_muon,
        defaults={
            "beta": 0.95,
            "nesterov": True,
            "ns_steps": 5,
            "b1": 0.9,
            "b2": 0.999,
            "eps": 1e-8,
            "adam_scale": 1.0,
            "weight_decay": 0.0,
        },
        bounds={
            **MOMENTS,
            "beta": (0.0, 1.0),
            "ns_steps": (1, math.inf),
            "adam_scale": POSITIVE,
            "weight_decay": POSITIVE,
        },
        family_of=always("muon"),
        paper="Jordan et al. 2024, github.com/KellerJordan/Muon",
    ),
    "nadamw": Optimizer(
        build=_nadamw,
        defaults={"rule": "optax", "b1": 0.9, "b2": 0.999, "eps": 1e-8, "weight_decay": 1e-4},
        bounds={**MOMENTS, "weight_decay": POSITIVE},
        choices={"rule": RULES},
        family_of=always("adam"),
        paper="Dozat 2016, Incorporating Nesterov Momentum into Adam; Dahl et al. 2023, arXiv 2306.07179",
    ),
    "nap": Optimizer(
        build=_nap,
        defaults=ALONG,
        bounds=ALONG_BOUNDS,
        choices={"inner": DIRECTIONS},
        family_of=inner_family,
        paper="Lyle et al. 2024, arXiv 2407.01800",
    ),
    "perp_adamw": Optimizer(
        build=_perp_adamw,
        defaults={"b1": 0.9, "b2": 0.999, "eps": 1e-8, "weight_decay": 0.0},
        bounds={**MOMENTS, "weight_decay": POSITIVE},
        family_of=always("adam"),
        paper="Prieto et al. 2025, arXiv 2501.04697",
    ),
    "schedule_free_adamw": Optimizer(
        build=_schedule_free_adamw,
        defaults={"b1": 0.9, "b2": 0.999, "eps": 1e-8, "weight_decay": 0.0},
        bounds={**MOMENTS, "weight_decay": POSITIVE},
        eval_params=averaged_params,
        family_of=always("adam"),
        paper="Defazio et al. 2024, arXiv 2405.15682",
    ),
    "schedule_free_sgd": Optimizer(
        build=_schedule_free_sgd,
        defaults={"b1": 0.9, "weight_decay": 0.0},
        bounds={"b1": (0.0, 1.0), "weight_decay": POSITIVE},
        eval_params=averaged_params,
        family_of=always("sgd"),
        paper="Defazio et al. 2024, arXiv 2405.15682",
    ),
    "sgd": Optimizer(build=_sgd, defaults={}, family_of=always("sgd"), paper="Robbins & Monro 1951"),
    "signum": Optimizer(
        build=_signum,
        defaults={"beta": 0.9, "weight_decay": 0.0},
        bounds={"beta": (0.0, 1.0), "weight_decay": POSITIVE},
        family_of=always("lion"),
        paper="Bernstein et al. 2018, arXiv 1802.04434",
    ),
}
