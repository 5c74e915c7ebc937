"""The curvature that an adaptive optimizer steps in: the Hessian between square roots of its preconditioner."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.core import Tracer

from lrstudy.curvature.operator import Matvec, Operator, Product, make
from lrstudy.curvature.vectors import Vector


@dataclasses.dataclass(frozen=True)
class _Preconditioned(Product):
    def __call__(self, arrays: Any, vector: Vector) -> Vector:
        operator, diagonal = arrays
        return self._apply(operator.matvec, diagonal, vector)

    def prepared(self, arrays: Any) -> Matvec:
        operator, diagonal = arrays
        matvec = operator.prepared()
        return lambda vector: self._apply(matvec, diagonal, vector)

    def _apply(self, matvec: Matvec, diagonal: Any, vector: Vector) -> Vector:
        def scaled(tree: Any) -> Any:
            return jax.tree.map(lambda x, p: x * jax.lax.rsqrt(jnp.asarray(p, x.dtype)), tree, diagonal)

        return scaled(matvec(scaled(vector)))


def preconditioned(operator: Operator, diagonal: Any) -> Operator:
    """``P^-1/2 A P^-1/2`` for a positive diagonal P.

    It is symmetric and has the eigenvalues of ``P^-1 A``, which is what an optimizer that divides by P steps in
    (Cohen et al. 2022, arXiv 2207.14484); an eigenvector s of it belongs to the eigenvector ``P^-1/2 s`` of that.

    Args:
        operator: A, the Hessian.
        diagonal: P, a tree like the vectors; a number that is not positive makes the result non-finite.

    Raises:
        ValueError: the diagonal is not shaped like the vectors.
    """
    shapes = [jax.tree.map(np.shape, tree) for tree in (operator.example, diagonal)]
    if shapes[0] != shapes[1]:
        raise ValueError(f"diagonal must be shaped like the vectors, {shapes[0]}, got {shapes[1]}")
    return make(_Preconditioned(), operator, diagonal, example=operator.example)


def adam_preconditioner(
    opt_state: Any, *, eps: Any, b2: Any, eps_root: Any = 0.0, b1: Any = None, eps_in_sqrt: bool = True
) -> Any:
    """The diagonal P by which an adaptive optimizer divides its step, from its optax state.

    Of Adam and its like (one ``optax.ScaleByAdamState`` or ``ScaleByAmsgradState``): sqrt(nu / (1 - b2^t) + eps_root) +
    eps, with the largest corrected nu of AMSGrad. Of RMSProp: sqrt(nu + eps), or sqrt(nu) + eps without
    ``eps_in_sqrt``, its nu corrected where its state counts. Of Adagrad (``ScaleByRssState``): sqrt(sum + eps). The
    learning rate is no part of P.

    Args:
        opt_state: an optax state, nested as it may be.
        eps: of the optimizer.
        b2: decay of the second moment.
        eps_root: Adam's offset inside the root.
        b1: decay of the first moment; where given, P also has the factor 1 - b1^t by which the correction of the
            momentum makes Adam's early steps longer.
        eps_in_sqrt: of RMSProp, as optax's argument.

    Returns:
        A tree like the parameters. Where the count is traced and zero, P is 0 / 0, so NaN.

    Raises:
        ValueError: the state holds no second moment that is known here, or several; or no update has been made.
    """
    node = _second_moment(opt_state)
    # Every tuple has a method of this name.
    count = node.count if "count" in node._fields else None
    if count is not None and not isinstance(count, Tracer) and np.any(np.asarray(count) == 0):
        raise ValueError("opt_state must be that after at least one update, got count 0: its second moment is 0 / 0")
    if isinstance(node, optax.ScaleByRssState):
        return jax.tree.map(lambda nu: jnp.sqrt(nu + eps), node.sum_of_squares)
    if not isinstance(node, _ADAM):
        nu = node.nu if count is None else optax.tree.bias_correction(node.nu, b2, count)
        return jax.tree.map(lambda x: jnp.sqrt(x + eps) if eps_in_sqrt else jnp.sqrt(x) + eps, nu)
    is_largest = isinstance(node, optax.ScaleByAmsgradState)
    nu = node.nu_max if is_largest else optax.tree.bias_correction(node.nu, b2, count)
    factor = 1.0 if b1 is None else 1 - jnp.power(b1, jnp.asarray(count, jnp.float32))
    return jax.tree.map(lambda x: (factor * (jnp.sqrt(x + eps_root) + eps)).astype(x.dtype), nu)


_ADAM = (optax.ScaleByAdamState, optax.ScaleByAmsgradState)
_KNOWN = (*_ADAM, optax.ScaleByRmsState, optax.ScaleByRssState)
_COUNTED_RMS = ("count", "nu")
"""Fields of the state of RMSProp with bias correction, whose type optax does not export."""


def _second_moment(opt_state: Any) -> Any:
    """The one node of the state that holds second moments by parameter.

    Raises:
        ValueError: there is none, or there are several.
    """

    def is_known(node: Any) -> bool:
        return isinstance(node, _KNOWN) or getattr(node, "_fields", None) == _COUNTED_RMS

    found = [node for node in jax.tree.leaves(opt_state, is_leaf=is_known) if is_known(node)]
    if len(found) != 1:
        names = sorted({kind.__name__ for kind in _KNOWN})
        raise ValueError(f"opt_state must hold exactly one of {names}, got {[type(node).__name__ for node in found]}")
    return found[0]
