"""Curvature without second derivatives of the model: Gauss-Newton, empirical Fisher and the tangent kernel."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from lrstudy.curvature.hessian import check_batch
from lrstudy.curvature.operator import Matvec, Operator, Product, make
from lrstudy.curvature.vectors import Vector, check_differentiable, size

Apply = Callable[[Any, Any], Any]


@dataclasses.dataclass(frozen=True)
class _GaussNewton(Product):
    apply: Apply
    output_loss: Callable[[Any, Any], Any]

    def __call__(self, arrays: Any, vector: Vector) -> Vector:
        return self.prepared(arrays)(vector)

    def prepared(self, arrays: Any) -> Matvec:
        params, batch = arrays
        outputs, forward = jax.linearize(lambda p: self.apply(p, batch), params)
        backward = jax.linear_transpose(forward, params)
        curve = jax.linearize(jax.grad(lambda f: self.output_loss(f, batch)), outputs)[1]
        return lambda vector: backward(curve(forward(vector)))[0]


def ggn(apply: Apply, output_loss: Callable[[Any, Any], Any], params: Any, batch: Any) -> Operator:
    """The generalised Gauss-Newton matrix J^T H_f J: the Hessian without the model's own curvature.

    It is positive semi-definite where the loss is convex in the outputs, and the Hessian itself where the outputs are
    linear in the parameters or the loss's gradient in them vanishes (Schraudolph 2002).

    Args:
        apply: ``(params, batch) -> outputs``.
        output_loss: ``(outputs, batch) ->`` the mean loss.
        params: where.
        batch: a fixed one.

    Raises:
        ValueError: parameters that are not floating-point, or an empty batch.
    """
    check_differentiable("params", params)
    check_batch(batch)
    return make(_GaussNewton(apply, output_loss), params, batch, example=params)


@dataclasses.dataclass(frozen=True)
class _Fisher(Product):
    per_example_loss: Callable[[Any, Any], Any]

    def __call__(self, arrays: Any, vector: Vector) -> Vector:
        return self.prepared(arrays)(vector)

    def prepared(self, arrays: Any) -> Matvec:
        params, batch = arrays
        losses, forward = jax.linearize(lambda p: self.per_example_loss(p, batch), params)
        if jnp.ndim(losses) != 1:
            raise ValueError(f"per_example_loss must give one number an example, got shape {jnp.shape(losses)}")
        backward = jax.linear_transpose(forward, params)
        return lambda vector: backward(forward(vector) / losses.shape[0])[0]


def empirical_fisher(per_example_loss: Callable[[Any, Any], Any], params: Any, batch: Any) -> Operator:
    """The second moment of the examples' gradients at their labels, (1/N) sum g_i g_i^T, never formed.

    It is not the Fisher information, whose labels are drawn from the model, and not the Hessian
    (Kunstner et al. 2019, arXiv 1905.12558).

    Args:
        per_example_loss: ``(params, batch) ->`` one loss an example.
        params: where.
        batch: a fixed one.

    Raises:
        ValueError: parameters that are not floating-point, or an empty batch; from the product, losses that are not
            one an example.
    """
    check_differentiable("params", params)
    check_batch(batch)
    return make(_Fisher(per_example_loss), params, batch, example=params)


@dataclasses.dataclass(frozen=True)
class _TangentKernel(Product):
    apply: Apply

    def __call__(self, arrays: Any, vector: Vector) -> Vector:
        return self.prepared(arrays)(vector)

    def prepared(self, arrays: Any) -> Matvec:
        params, inputs, scale = arrays
        forward = jax.linearize(lambda p: self.apply(p, inputs), params)[1]
        backward = jax.linear_transpose(forward, params)

        def product(vector: Vector) -> Vector:
            return jax.tree.map(lambda x: jnp.asarray(scale, x.dtype) * x, forward(backward(vector)[0]))

        return product


def ntk(apply: Apply, params: Any, inputs: Any, *, scale: Any = 1.0) -> Operator:
    """The empirical neural tangent kernel J J^T on the outputs, without forming it.

    With the scale 1/N and the loss (1/2N) sum |f - y|^2 its largest eigenvalue is that of the Gauss-Newton matrix.

    Args:
        apply: ``(params, inputs) -> outputs``, a floating-point array or a tree of them.
        params: where.
        inputs: of all examples.
        scale: factor on the kernel, may be traced.

    Raises:
        ValueError: parameters or outputs that are not floating-point, or no inputs.
    """
    check_differentiable("params", params)
    check_batch(inputs)
    outputs = jax.eval_shape(apply, params, inputs)
    if not size(outputs):
        raise ValueError("apply must give at least one output, got none")
    return make(_TangentKernel(apply), params, inputs, scale, example=outputs)
