"""Self-tuning networks: layers that answer to their hyperparameters (MacKay et al. 2019, arXiv 1903.03088).

The weights of a layer are an affine function of hyperparameters such as a dropout rate, which are perturbed while it is
trained, so that the validation loss has a derivative with respect to them: what comes out is a schedule of
hyperparameters. The rules are those of the authors' code; its published results were not repeated here.
"""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from lrstudy.optimizers.directions import Number

_RESPONSE = 0.01
"""Standard deviation of the initial weights from hyperparameters to the scales of the response."""


class HyperLinear(NamedTuple):
    """Tensors of one layer.

    Attributes:
        kernel: W_e, (out, in).
        bias: b_e.
        scale: s, one number.
        response_kernel: W_h, (out, in).
        response_bias: b_h.
        response: hyperparameters to h_w and h_b, (2 out, hyperparameters).
    """

    kernel: Float[Array, "out in"]
    bias: Float[Array, " out"]
    scale: Float[Array, ""]
    response_kernel: Float[Array, "out in"]
    response_bias: Float[Array, " out"]
    response: Float[Array, "doubled hyper"]


def hyper_linear_init(key: PRNGKeyArray, inputs: int, outputs: int, hyperparameters: int) -> HyperLinear:
    """Initial tensors: uniform within 1 / sqrt(inputs), the scale 1, the response normal with deviation 0.01."""
    keys, bound = jax.random.split(key, 5), 1 / math.sqrt(inputs)

    def uniform(one: Any, *shape: int) -> Array:
        return jax.random.uniform(one, shape, minval=-bound, maxval=bound)

    return HyperLinear(
        kernel=uniform(keys[0], outputs, inputs),
        bias=uniform(keys[1], outputs),
        scale=jnp.ones(()),
        response_kernel=uniform(keys[2], outputs, inputs),
        response_bias=uniform(keys[3], outputs),
        response=_RESPONSE * jax.random.normal(keys[4], (2 * outputs, hyperparameters)),
    )


def hyper_linear(
    layer: HyperLinear, inputs: Float[Array, "batch in"], hyper: Float[Array, "batch hyper"] | None
) -> Float[Array, "batch out"]:
    """S (W_e x + b_e) + h_w * (W_h x) + h_b * b_h, with (h_w, h_b) a linear function of an example's hyperparameters.

    Args:
        layer: its tensors.
        inputs: x.
        hyper: hyperparameters of every example, unbounded; ``None``: no response.
    """
    plain = layer.scale * (inputs @ layer.kernel.T + layer.bias)
    if hyper is None:
        return plain
    on_weights, on_bias = jnp.split(hyper @ layer.response.T, 2, axis=-1)
    return plain + on_weights * (inputs @ layer.response_kernel.T) + on_bias * layer.response_bias


def perturbed_hyperparameters(
    key: PRNGKeyArray, hyper: Float[Array, " hyper"], raw_scale: Float[Array, " hyper"], examples: int
) -> Float[Array, "examples hyper"]:
    """Hyperparameters of every example: lambda + softplus(raw_scale) times standard normal noise."""
    noise = jax.random.normal(key, (examples, *hyper.shape), hyper.dtype)
    return hyper + jax.nn.softplus(raw_scale) * noise


def self_tuning_objective(
    loss: Float[Array, ""], raw_scale: Float[Array, " hyper"], *, tau: Number = 1e-5
) -> Float[Array, ""]:
    """What hyperparameters and their scales are trained on: the validation loss less tau times the noise's entropy.

    The entropy of the perturbation, sum log(scale sqrt(2 pi e)), keeps it from shrinking to nothing.

    Args:
        loss: of a batch of the validation set, at perturbed hyperparameters.
        raw_scale: before softplus.
        tau: weight of the entropy.
    """
    entropy = jnp.sum(jnp.log(jax.nn.softplus(raw_scale)) + 0.5 * math.log(2 * math.pi * math.e))
    return loss - tau * entropy


def whose_turn(step: int, *, training: int = 2, validation: int = 1, warmup: int = 0) -> str:
    """Whose turn a step is: ``weights``, on a training batch, or ``hyperparameters``, on one of the validation set.

    Args:
        step: from 0.
        training: successive steps of the weights.
        validation: successive steps of the hyperparameters after them.
        warmup: first steps, all of the weights.

    Raises:
        ValueError: a count is out of range.
    """
    for name, value, least in (
        ("step", step, 0),
        ("training", training, 1),
        ("validation", validation, 1),
        ("warmup", warmup, 0),
    ):
        if value < least:
            raise ValueError(f"{name} must be an int of at least {least}, got {value!r}")
    turn = (step - warmup) % (training + validation)
    return "weights" if step < warmup or turn < training else "hyperparameters"
