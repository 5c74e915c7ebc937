"""What the table of optimizers says about each of them."""

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Any

import optax

from lrstudy.feedback import trained_params

Family = Callable[[Mapping[str, Any]], str]

POSITIVE = (0.0, math.inf)
"""Of a number that may be zero."""

MOMENTS = {"b1": (0.0, 1.0), "b2": (0.0, 1.0), "eps": POSITIVE}

# What `directions.direction` wants: the published defaults of each.
ALONG = {"inner": "sgd", "momentum": 0.9, "b1": 0.9, "b2": 0.999, "eps": 1e-8}
ALONG_BOUNDS = {**MOMENTS, "momentum": (0.0, 1.0)}


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
        extra_args: names of the extra arguments that ``update`` needs (``extra_args.MEANINGS``).
        paper: where the rule comes from.
        bounds: hyperparameter to the half-open interval ``[low, high)`` that it must be in.
        choices: hyperparameter to the names that it can be, for one that is a text.
        gradients_of: all hyperparameters to the gradients that one update takes, the one it is given among them.
        choosy: whether it refuses models by their tensors, once it is given them.
        scaled: whether there may be something ``around`` the direction, which is how a parametrization scales a row;
            the others have none, or estimate one rate from steps that are all scaled alike, and refuse it.

    Example:
        >>> import jax.numpy as jnp
        >>> from lrstudy.optimizers import TABLE
        >>> TABLE["adamw"].defaults["weight_decay"], TABLE["sam"].extra_args, TABLE["muon"].family({})
        (0.0001, ('grad_fn',), 'muon')
        >>> transform = TABLE["lion"].build(0.5, b1=0.9, b2=0.99, weight_decay=0.0)  # any rate: a number or a schedule
        >>> updates, _ = transform.update(jnp.float32([-2, 3]), transform.init(jnp.ones(2)), jnp.ones(2))
        >>> updates.tolist()
        [0.5, -0.5]
    """

    build: Callable[..., optax.GradientTransformation]
    defaults: Mapping[str, Any]
    paper: str
    family_of: Family
    eval_params: Callable[[optax.OptState, Any], Any] = trained_params
    extra_args: tuple[str, ...] = ()
    bounds: Mapping[str, tuple[float, float]] = dataclasses.field(default_factory=dict)
    choices: Mapping[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)
    choosy: bool = False
    scaled: bool = True
    gradients_of: Callable[[Mapping[str, Any]], float] = lambda _: 1

    def family(self, hyperparameters: Mapping[str, Any]) -> str:
        """How the size of a step follows the gradient's, on which the transfer of rates over widths depends.

        Args:
            hyperparameters: by name; those that are left out have their defaults.

        Returns:
            ``sgd``: as the gradient. ``adam`` and ``lion``: of size one, whatever the gradient's is. ``adafactor``: as
            the parameter; without that factor it is ``adam``. ``muon``: of a spectral norm that follows the shape.
        """
        return self.family_of({**self.defaults, **hyperparameters})


def always(name: str) -> Family:
    """A family that no hyperparameter changes."""
    return lambda _: name


def inner_family(hyperparameters: Mapping[str, Any]) -> str:
    """The family of a row that steps along one of ``directions.DIRECTIONS``."""
    return "adam" if hyperparameters["inner"] == "adam" else "sgd"
