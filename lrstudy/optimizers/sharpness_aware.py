"""Steps and losses that look for flat places: SAM, SAF and MESA."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from lrstudy.optimizers.directions import Number
from lrstudy.optimizers.extra_args import needing

Step = Callable[[Any, optax.OptState, Any], tuple[Any, optax.OptState, Float[Array, ""]]]
Logits = Float[Array, "*batch classes"]


def sam(tx: optax.GradientTransformation, rho: Number = 0.05) -> optax.GradientTransformationExtraArgs:
    """An optimizer that steps along the gradient at the worst place nearby (Foret et al. 2021, arXiv 2010.01412).

    With g the gradient of the loss, the step is the optimizer's for the gradient at w + rho g / |g|, the norm being
    that of all tensors together; both gradients are of the same batch. Where g is zero it is the plain step.

    ``optax.contrib.sam`` makes two updates of one step, so schedules and averages run at twice their pace, unless it is
    told to be opaque; then it divides a gradient of zeros by its norm. Here an update counts as one, and pays two
    gradients.

    Args:
        tx: the optimizer.
        rho: how far away the second gradient is taken; 0.05 in the paper. Parameters of 16 bits cannot tell places that
            are closer than their last bit.

    Returns:
        A transform whose state is the optimizer's and whose ``update`` needs the parameters and ``grad_fn``,
        ``(params, i) -> gradient`` of the same batch, i being 0.
    """
    inner = optax.with_extra_args_support(tx)

    def update(
        updates: Any, state: optax.OptState, params: Any = None, *, grad_fn: Callable[[Any, int], Any], **extra: Any
    ) -> tuple[Any, optax.OptState]:
        if params is None:
            raise ValueError("params must be given: sam takes a second gradient beside them")
        size = optax.tree.norm(jax.tree.map(_wide, updates))
        length = jnp.where(size > 0, rho / jnp.where(size > 0, size, 1), 0)
        uphill = jax.tree.map(lambda w, g: (_wide(w) + length * _wide(g)).astype(w.dtype), params, updates)
        return inner.update(grad_fn(uphill, 0), state, params, grad_fn=grad_fn, **extra)

    return needing("sam", ("grad_fn",), optax.GradientTransformationExtraArgs(inner.init, update))


def sam_step(
    loss: Callable[[Any, Any], Float[Array, ""]], tx: optax.GradientTransformation, rho: Number = 0.05
) -> Step:
    """A training step of ``sam``.

    Args:
        loss: ``(params, batch) -> loss``.
        tx: the optimizer; its ``update`` is given ``value``, the loss before the step.
        rho: how far away the second gradient is taken.

    Returns:
        ``(params, state, batch) -> (params, state, loss)``, the loss at the parameters before the step.
    """
    transform = sam(tx, rho)

    def step(params: Any, state: optax.OptState, batch: Any) -> tuple[Any, optax.OptState, Float[Array, ""]]:
        def grad_fn(at: Any, _: int) -> Any:
            return jax.grad(loss)(at, batch)

        value, slope = jax.value_and_grad(loss)(params, batch)
        updates, state = transform.update(slope, state, params, value=value, grad_fn=grad_fn)
        return optax.apply_updates(params, updates), state, value

    return step


def trajectory_loss(
    logits: Logits, old_logits: Logits, *, temperature: Number = 5.0, weight: Number = 0.3
) -> Float[Array, ""]:
    """What SAF adds to the loss: the logits of some epochs ago should not be far (Du et al. 2022, arXiv 2205.14083).

    weight T^2 mean sum_c q_c (log q_c - log p_c), with p = softmax(z / T) and q = softmax(z_old / T), which is not
    differentiated. A trajectory that falls into a sharp minimum changes its outputs fast; this one costs no second
    gradient. The release takes logits of the same example from 2 epochs before, and adds the term in the epochs
    strictly between the 5th and the 300th.

    Args:
        logits: z.
        old_logits: z_old, of the same examples.
        temperature: T.
        weight: of the term.

    Returns:
        The term, a mean over the batch.
    """
    teacher = jax.nn.log_softmax(jax.lax.stop_gradient(old_logits) / temperature)
    student = jax.nn.log_softmax(logits / temperature)
    return weight * temperature**2 * jnp.mean(jnp.sum(jnp.exp(teacher) * (teacher - student), axis=-1))


def mesa_loss(
    logits: Logits, averaged_logits: Logits, *, temperature: Number = 5.0, weight: Number = 0.8
) -> Float[Array, ""]:
    """What MESA adds to the loss: ``trajectory_loss`` to an average of the model on the same batch (arXiv 2205.14083).

    It needs no memory of logits, but one more pass of the averaged weights; the release averages them exponentially,
    with the decay 0.9998.

    Args:
        logits: of the model.
        averaged_logits: of the average of its weights, not differentiated.
        temperature: T.
        weight: of the term.

    Returns:
        The term, a mean over the batch.
    """
    return trajectory_loss(logits, averaged_logits, temperature=temperature, weight=weight)


def _wide(leaf: Array) -> Array:
    return leaf.astype(jnp.promote_types(leaf.dtype, jnp.float32))
