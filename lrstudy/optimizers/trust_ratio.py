"""Steps as long as their tensors ask for: the trust ratios of LARS and LAMB."""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from lrstudy.optimizers.checks import Real, check_choice
from lrstudy.optimizers.norms import norm_over, widened
from lrstudy.optimizers.paths import layer_axes as layer_axes_of

COEFFICIENTS = {"lars": 1e-3, "lamb": 1.0}
"""Factor on the ratio by kind, as published."""
KINDS = tuple(COEFFICIENTS)


class TrustRatioState(NamedTuple):
    """State of ``scale_by_trust_ratio``.

    Attributes:
        ratio: of the last update, for every tensor that has one, and ``None`` for the others; a number, or one a layer
            of a stack. Ones before the first update.
    """

    ratio: Any


def scale_by_trust_ratio(
    kind: str,
    *,
    weight_decay: Real = 0.0,
    coefficient: Real | None = None,
    phi_min: Real = 0.0,
    phi_max: Real = math.inf,
    eps: Real = 0.0,
    layer_axes: Any = None,
    mask: Any = None,
) -> optax.GradientTransformation:
    """Adds the decay to a direction u and scales it by the ratio of the weights' norm to its own, tensor by tensor.

    The result is ratio r with r = u + weight_decay w, and with phi(z) = clip(z, phi_min, phi_max)

    - ``lars``: ratio = coefficient phi(|w|) / (|u| + weight_decay |w| + eps) (You et al. 2017, arXiv 1708.03888, where
      phi is the identity); u is the gradient, and the momentum is taken of the result,
    - ``lamb``: ratio = coefficient phi(|w|) / (|r| + eps) (You et al. 2020, arXiv 1904.00962, algorithm 2); u is Adam's
      direction. With LARS's coefficient it is ``optax.lars``, which divides by the norm of the sum and not by the sum
      of the norms.

    The ratio is 1 for a tensor of zeros, which has no scale yet, and where r is zero. In a stack of layers every layer
    has a ratio of its own, where optax takes one norm of the whole stack.

    Args:
        kind: ``lars`` or ``lamb``.
        weight_decay: it is part of the step that is scaled.
        coefficient: factor on the ratio; ``None``: 0.001 for ``lars`` and 1 for ``lamb``.
        phi_min: least norm of weights that counts.
        phi_max: largest norm of weights that counts.
        eps: offset of the denominator.
        layer_axes: how many leading axes count layers, a number or a tree of them; ``None``: as names say
            (``paths.layer_axes``).
        mask: tree of ``bool``, or a function from parameters to one: which tensors are decayed and scaled; the others
            keep their direction. ``None``: all; studies leave out gains and biases (``decay_mask``).

    Returns:
        A transform whose ``update`` needs the parameters.

    Raises:
        ValueError: an unknown ``kind``, or ``update`` is not given the parameters.
    """
    check_choice("kind", kind, KINDS)
    factor = COEFFICIENTS[kind] if coefficient is None else coefficient

    def ratio_of(direction: Array, total: Array, weights: Array, kept: int) -> Float[Array, "..."]:
        size, length = norm_over(weights, kept), norm_over(total, kept)
        below = norm_over(direction, kept) + weight_decay * size if kind == "lars" else length
        scales = (size > 0) & (length > 0)
        numerator = factor * jnp.clip(size, phi_min, phi_max)
        return jnp.where(scales, numerator / (jnp.where(scales, below, 1) + eps), 1)

    def init(params: Any) -> TrustRatioState:
        def ones(leaf: Array, is_chosen: bool, kept: int) -> Float[Array, "..."] | None:
            return jnp.ones(leaf.shape[:kept], widened(leaf).dtype) if is_chosen else None

        return TrustRatioState(jax.tree.map(ones, params, _chosen(mask, params), _kept(layer_axes, params)))

    def update(updates: Any, state: TrustRatioState, params: Any = None) -> tuple[Any, TrustRatioState]:
        if params is None:
            raise ValueError("params must be given: scale_by_trust_ratio compares a step with them")

        def scaled(direction: Array, weights: Array, last: Float[Array, "..."] | None, kept: int) -> Any:
            if last is None:
                return direction, None
            u, w = widened(direction), widened(weights)
            total = u + weight_decay * w
            ratio = ratio_of(u, total, w, kept)
            return (ratio * u + (ratio * weight_decay) * w).astype(direction.dtype), ratio.reshape(last.shape).astype(
                last.dtype
            )

        pairs = jax.tree.map(scaled, updates, params, state.ratio, _kept(layer_axes, params))
        steps, ratios = (jax.tree.map(lambda _, pair, i=i: pair[i], updates, pairs) for i in (0, 1))
        return steps, TrustRatioState(ratios)

    return optax.GradientTransformation(init, update)  # pyright: ignore[reportArgumentType]


def _chosen(mask: Any, params: Any) -> Any:
    """Which tensors are decayed and scaled."""
    if mask is None:
        return jax.tree.map(lambda _: True, params)
    return mask(params) if callable(mask) else mask


def _kept(layer_axes: Any, params: Any) -> Any:
    """How many leading axes of every tensor count layers."""
    if layer_axes is None:
        return jax.tree_util.tree_map_with_path(lambda path, _: layer_axes_of(path), params)
    return jax.tree.broadcast(layer_axes, params)
