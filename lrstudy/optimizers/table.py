"""The optimizers that a study can name."""

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Any

import optax

from lrstudy.feedback import trained_params
from lrstudy.optimizers.decay import decay_mask
from lrstudy.optimizers.directions import (
    DIRECTIONS,
    Around,
    LearningRate,
    Number,
    adafactor_direction,
    direction,
    stepped,
    wrapped,
)
from lrstudy.optimizers.fedhyper import KINDS, PRODUCTS, fedhyper
from lrstudy.optimizers.float32_state import with_float32_state
from lrstudy.optimizers.hypergradient import KINDS as HYPERGRADIENT_KINDS
from lrstudy.optimizers.hypergradient import hypergradient
from lrstudy.optimizers.muon import muon_direction
from lrstudy.optimizers.normalized import project_to_norm
from lrstudy.optimizers.plateau import plateau
from lrstudy.optimizers.schedule_free import averaged_params, schedule_free

Family = Callable[[Mapping[str, Any]], str]


@dataclasses.dataclass(frozen=True)
class Optimizer:
    """One row of the table.

    Attributes:
        build: ``build(learning_rate, *, around=None, **hyperparameters)``; the hyperparameters may be traced, so that
            optimizers which differ in numbers alone share one compiled program. ``around`` wraps the row's pure
            direction, before decay and rate, whose state it may hold and whose gradients and steps it may change.
        defaults: every hyperparameter and its default. Numbers become lanes of a sweep, other values groups.
        family_of: all hyperparameters to the family that the optimizer is of; see ``family``.
        eval_params: ``(opt_state, params) -> params`` at which the loss is evaluated.
        extra_args: names of the extra arguments that ``update`` needs.
        paper: where the rule comes from.
        bounds: hyperparameter to the half-open interval ``[low, high)`` that it must be in.
        choices: hyperparameter to the names that it can be, for one that is a text.
    """

    build: Callable[..., optax.GradientTransformation]
    defaults: Mapping[str, Any]
    paper: str
    family_of: Family
    eval_params: Callable[[optax.OptState, Any], Any] = trained_params
    extra_args: tuple[str, ...] = ()
    bounds: Mapping[str, tuple[float, float]] = dataclasses.field(default_factory=dict)
    choices: Mapping[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)

    def family(self, hyperparameters: Mapping[str, Any]) -> str:
        """How the size of a step follows the gradient's, on which the transfer of rates over widths depends.

        Args:
            hyperparameters: by name; those that are left out have their defaults.

        Returns:
            ``sgd``: as the gradient. ``adam`` and ``lion``: of size one, whatever the gradient's is. ``adafactor``: as
            the parameter; without that factor it is ``adam``. ``muon``: of a spectral norm that follows the shape.
        """
        return self.family_of({**self.defaults, **hyperparameters})


def _always(name: str) -> Family:
    return lambda _: name


def _inner_family(hyperparameters: Mapping[str, Any]) -> str:
    return "adam" if hyperparameters["inner"] == "adam" else "sgd"


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


def _lion(
    learning_rate: LearningRate, *, b1: Number, b2: Number, weight_decay: Number, around: Around = None
) -> optax.GradientTransformation:
    return with_float32_state(stepped(wrapped(optax.scale_by_lion(b1, b2), around), learning_rate, weight_decay))


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


def _nap(
    learning_rate: LearningRate, *, inner: str, around: Around = None, **numbers: Number
) -> optax.GradientTransformation:
    free = stepped(wrapped(direction(inner, **numbers), around), learning_rate)
    return with_float32_state(optax.chain(free, project_to_norm()))


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


def _fedhyper(learning_rate: LearningRate, *, around: Around = None, **settings: Any) -> optax.GradientTransformation:
    if around is not None:
        raise ValueError("around must be None for fedhyper: a server adds its clients' change, which is no gradient")
    return with_float32_state(fedhyper(learning_rate, **settings))


_POSITIVE = (0.0, math.inf)
_MOMENTS = {"b1": (0.0, 1.0), "b2": (0.0, 1.0), "eps": (0.0, math.inf)}

# What `directions.direction` wants: the published defaults of each.
_ALONG = {"inner": "sgd", "momentum": 0.9, "b1": 0.9, "b2": 0.999, "eps": 1e-8}
_ALONG_BOUNDS = {**_MOMENTS, "momentum": (0.0, 1.0)}

TABLE: dict[str, Optimizer] = {
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
            "decay_rate": _POSITIVE,
            "clipping_threshold": (1e-3, math.inf),
            "min_dim_size_to_factor": (1, math.inf),
            "weight_decay": _POSITIVE,
        },
        family_of=_adafactor_family,
        paper="Shazeer & Stern 2018, arXiv 1804.04235",
    ),
    "adam": Optimizer(
        build=_adam,
        defaults={"b1": 0.9, "b2": 0.999, "eps": 1e-8},
        bounds=_MOMENTS,
        family_of=_always("adam"),
        paper="Kingma & Ba 2015, arXiv 1412.6980",
    ),
    "adamw": Optimizer(
        build=_adamw,
        defaults={"b1": 0.9, "b2": 0.999, "eps": 1e-8, "weight_decay": 1e-4},
        bounds={**_MOMENTS, "weight_decay": (0.0, math.inf)},
        family_of=_always("adam"),
        paper="Loshchilov & Hutter 2019, arXiv 1711.05101",
    ),
    "ema_momentum": Optimizer(
        build=_ema_momentum,
        defaults={"momentum": 0.9},
        bounds={"momentum": (0.0, 1.0)},
        family_of=_always("sgd"),
        paper="the momentum inside Adam: m <- b m + (1 - b) g",
    ),
    "fedhyper": Optimizer(
        build=_fedhyper,
        defaults={"kind": "G", "product": "raw", "beta": 1.0, "momentum": 0.9},
        bounds={"beta": _POSITIVE, "momentum": (0.0, 1.0)},
        choices={"kind": KINDS, "product": PRODUCTS},
        family_of=_always("sgd"),
        paper="Wang et al. 2023, arXiv 2310.03156",
    ),
    "hypergradient": Optimizer(
        build=_hypergradient,
        defaults={**_ALONG, "kind": "add", "beta": 1e-4, "low": 0.0, "high": 1e6},
        bounds={**_ALONG_BOUNDS, "beta": _POSITIVE, "low": _POSITIVE, "high": _POSITIVE},
        choices={"inner": DIRECTIONS, "kind": HYPERGRADIENT_KINDS},
        family_of=_inner_family,
        paper="Baydin et al. 2018, arXiv 1703.04782",
    ),
    "lion": Optimizer(
        build=_lion,
        defaults={"b1": 0.9, "b2": 0.99, "weight_decay": 0.0},
        bounds={"b1": (0.0, 1.0), "b2": (0.0, 1.0), "weight_decay": _POSITIVE},
        family_of=_always("lion"),
        paper="Chen et al. 2023, arXiv 2302.06675",
    ),
    "momentum": Optimizer(
        build=_momentum,
        defaults={"momentum": 0.9, "nesterov": False},
        bounds={"momentum": (0.0, 1.0)},
        family_of=_always("sgd"),
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
            **_MOMENTS,
            "beta": (0.0, 1.0),
            "ns_steps": (1, math.inf),
            "adam_scale": _POSITIVE,
            "weight_decay": _POSITIVE,
        },
        family_of=_always("muon"),
        paper="Jordan et al. 2024, github.com/KellerJordan/Muon",
    ),
    "nap": Optimizer(
        build=_nap,
        defaults=_ALONG,
        bounds=_ALONG_BOUNDS,
        choices={"inner": DIRECTIONS},
        family_of=_inner_family,
        paper="Lyle et al. 2024, arXiv 2407.01800",
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
        family_of=_inner_family,
        paper="optax.contrib.reduce_on_plateau; the rule is older than its papers",
    ),
    "schedule_free_adamw": Optimizer(
        build=_schedule_free_adamw,
        defaults={"b1": 0.9, "b2": 0.999, "eps": 1e-8, "weight_decay": 0.0},
        bounds={**_MOMENTS, "weight_decay": _POSITIVE},
        eval_params=averaged_params,
        family_of=_always("adam"),
        paper="Defazio et al. 2024, arXiv 2405.15682",
    ),
    "schedule_free_sgd": Optimizer(
        build=_schedule_free_sgd,
        defaults={"b1": 0.9, "weight_decay": 0.0},
        bounds={"b1": (0.0, 1.0), "weight_decay": _POSITIVE},
        eval_params=averaged_params,
        family_of=_always("sgd"),
        paper="Defazio et al. 2024, arXiv 2405.15682",
    ),
    "sgd": Optimizer(build=_sgd, defaults={}, family_of=_always("sgd"), paper="Robbins & Monro 1951"),
}
