"""The Hessian of a loss, by its products with vectors."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, Literal, get_args

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from lrstudy.curvature.errors import explaining_custom_vjp
from lrstudy.curvature.operator import Matvec, Operator, Product, make
from lrstudy.curvature.vectors import Vector, check_differentiable

Loss = Callable[..., Any]
Gradient = Callable[[Any], Any]
Mode = Literal["linearize", "fwdrev", "revrev", "fd"]


@dataclasses.dataclass(frozen=True)
class _Hessian(Product):
    """Second derivatives of ``loss(params, batch)`` in the parameters.

    Attributes:
        loss: ``(params, batch) ->`` a scalar, or a pair that starts with one.
        mode: see ``hessian``.
        remat: recompute the forward pass in every product instead of keeping it.
        microbatches: how many pieces the batch is taken in.
    """

    loss: Loss
    mode: Mode
    remat: bool
    microbatches: int

    def __call__(self, arrays: Any, vector: Vector) -> Vector:
        params, batch = arrays
        return self._pieces(batch, lambda piece, v: _ONCE[self.mode](self._gradient(piece), params, v))(vector)

    def prepared(self, arrays: Any) -> Matvec:
        params, batch = arrays
        if self.mode == "linearize" and self.microbatches == 1 and not self.remat:
            with explaining_custom_vjp():
                return jax.linearize(self._gradient(batch), params)[1]
        return lambda vector: self(arrays, vector)

    def _gradient(self, batch: Any) -> Gradient:
        """The gradient as a function of the parameters alone."""

        def value(params: Any) -> Float[Array, ""]:
            found = self.loss(params, batch)
            return found[0] if isinstance(found, tuple) else found

        return jax.grad(jax.checkpoint(value) if self.remat else value)  # pyright: ignore[reportPrivateImportUsage]

    def _pieces(self, batch: Any, product: Callable[[Any, Vector], Vector]) -> Matvec:
        """The product of the whole batch from those of its pieces, each weighted by its examples."""
        if self.microbatches == 1:
            return lambda vector: product(batch, vector)
        examples = example_count(batch)
        size = -(-examples // self.microbatches)
        whole, rest = divmod(examples, size)
        # The pieces are of one size but for a shorter last one, which is taken apart from the loop.
        head = jax.tree.map(lambda x: x[: whole * size].reshape(whole, size, *x.shape[1:]), batch)
        tail = jax.tree.map(lambda x: x[whole * size :], batch)

        def summed(vector: Vector) -> Vector:
            def add(total: Vector, piece: Any) -> tuple[Vector, None]:
                return jax.tree.map(lambda t, x: t + size / examples * x, total, product(piece, vector)), None

            total, _ = jax.lax.scan(add, jax.tree.map(jnp.zeros_like, vector), head)
            if not rest:
                return total
            return jax.tree.map(lambda t, x: t + rest / examples * x, total, product(tail, vector))

        return summed


def hessian(
    loss: Loss, params: Any, batch: Any, *, mode: Mode = "linearize", remat: bool = False, microbatches: int = 1
) -> Operator:
    """The Hessian of ``loss(params, batch)`` at ``params``.

    Args:
        loss: ``(params, batch) ->`` a scalar, or a pair that starts with one (as a task's loss does). Give the same
            function every time: it is part of what a solver compiles. It should be the mean over the batch, and the
            same at every call: with dropout the Hessian is another at every product.
        params: where; a pytree of floating-point arrays.
        batch: a fixed one; a pytree of arrays.
        mode: ``linearize``: the gradient is linearised once for all products of a solver, which costs the memory of a
            forward and backward pass and about 1.4 gradients a product; ``fwdrev``: forward over reverse, anew for
            every product, which costs less memory and 2 to 3 gradients; ``revrev``: reverse over reverse, for losses
            with ``custom_vjp``, which may have no forward mode; ``fd``: a central difference of gradients with the step
            eps^(1/3) (1 + |params|)^(1/2) / |vector|, good to 1e-3 in float32, for what is differentiable once.
        remat: recompute the forward pass in every product instead of keeping it; ``linearize`` then is ``fwdrev``.
        microbatches: pieces in which the batch's leading axis is taken, one after the other, to save memory; a shorter
            last piece counts by its examples, and ``linearize`` then is ``fwdrev``.

    Raises:
        ValueError: an unknown mode, parameters that are not floating-point, an empty batch, or more pieces than
            examples.
    """
    if mode not in get_args(Mode):
        raise ValueError(f"mode must be one of {list(get_args(Mode))}, got {mode!r}")
    check_differentiable("params", params)
    check_batch(batch)
    if microbatches < 1 or (microbatches > 1 and microbatches > example_count(batch)):
        raise ValueError(f"microbatches must be in [1, examples of the batch], got {microbatches!r}")
    return make(_Hessian(loss, mode, remat, microbatches), params, batch, example=params)


def check_batch(batch: Any) -> None:
    """Refuses a batch without examples, whose mean loss would be 0 / 0.

    Raises:
        ValueError: an array of the batch is empty.
    """
    for path, leaf in jax.tree_util.tree_leaves_with_path(batch):
        if not np.size(leaf):
            raise ValueError(
                f"batch must hold at least one example, got shape {np.shape(leaf)} at '{jax.tree_util.keystr(path)}'"
            )


def example_count(batch: Any) -> int:
    """The length of the leading axis of all arrays of a batch.

    Raises:
        ValueError: they have none, or different ones.
    """
    lengths = {np.shape(leaf)[0] if np.ndim(leaf) else None for leaf in jax.tree.leaves(batch)}
    if len(lengths) != 1 or None in lengths:
        raise ValueError(
            f"batch must be arrays with one leading axis of examples, got lengths {sorted(map(str, lengths))}"
        )
    return int(lengths.pop())  # pyright: ignore[reportArgumentType]


def _fwdrev(gradient: Gradient, params: Any, vector: Vector) -> Vector:
    with explaining_custom_vjp():
        return jax.jvp(gradient, (params,), (vector,))[1]


def _revrev(gradient: Gradient, params: Any, vector: Vector) -> Vector:
    return jax.vjp(gradient, params)[1](vector)[0]


def _finite_difference(gradient: Gradient, params: Any, vector: Vector) -> Vector:
    # Longer steps are better along a random vector, whose rounding they drown, and worse along the sharpest one, where
    # the cubic term bends the gradient by percents; the root of the parameters' norm serves both.
    norms = [jnp.sqrt(sum(jnp.vdot(x, x) for x in jax.tree.leaves(tree))) for tree in (params, vector)]
    kind = jnp.result_type(*jax.tree.leaves(params))
    step = float(jnp.finfo(kind).eps) ** (1 / 3) * jnp.sqrt(1 + norms[0]) / jnp.where(norms[1] > 0, norms[1], 1)
    ahead, behind = (
        gradient(jax.tree.map(lambda p, v, sign=sign: p + (sign * step).astype(p.dtype) * v, params, vector))
        for sign in (1.0, -1.0)
    )
    return jax.tree.map(lambda a, b: (a - b) / (2 * step).astype(a.dtype), ahead, behind)


_ONCE: Mapping[Mode, Callable[[Gradient, Any, Vector], Vector]] = {
    "linearize": _fwdrev,
    "fwdrev": _fwdrev,
    "revrev": _revrev,
    "fd": _finite_difference,
}
