"""Tensors that keep their norm: the second half of normalize-and-project (Lyle et al. 2024, arXiv 2407.01800)."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from lrstudy.optimizers.decay import decay_mask
from lrstudy.optimizers.norms import norm_over, widened
from lrstudy.optimizers.paths import layer_axes


class ProjectState(NamedTuple):
    """State of ``project_to_norm``.

    Attributes:
        rho: the norm of every tensor that is projected, of at least 32 bits, and ``None`` for the others. It has the
            axes of its tensor, of length one but for the layers of a stack.
    """

    rho: Any


def project_to_norm(*, mask: Any = None, rho: Any = None) -> optax.GradientTransformation:
    """Turns an update u into u' = P(w + u) - w, where P scales a tensor back to its norm; the last of a chain.

    P(v) = rho v / |v|, in the Frobenius norm. In a network whose layers are normalised the scale of a tensor does not
    change what is computed, but a rate acts on the tensor as lr / |w|^2 (SGD) or lr / |w| (Adam): with |w| held, the
    rate that is asked for is the one that acts. Gains and biases move freely. In stacked layers (``paths.STACK``) every
    layer keeps its own norm.

    A tensor that is zero at the start, such as a readout that starts there, has no norm to keep and is never projected,
    nor is one that an update makes zero.

    Args:
        mask: tree of ``bool``, or a function from parameters to one: which tensors; default: kernels and embeddings
            (``decay_mask``).
        rho: the norm to keep, a number or a tree of numbers like the parameters; default: that of the parameters given
            to ``init``.

    Returns:
        A transform whose ``update`` needs the parameters. Norms have at least 32 bits; parameters of fewer are
        rounded after the projection, and their norm with them.

    Raises:
        ValueError: ``update`` is not given the parameters.
    """

    def init(params: Any) -> ProjectState:
        chosen = decay_mask if mask is None else mask
        chosen = chosen(params) if callable(chosen) else chosen

        def norm_of(path: tuple[Any, ...], leaf: Array, is_chosen: bool, given: Any) -> Any:
            if not is_chosen:
                return None
            own = norm_over(leaf, layer_axes(path))
            return own if given is None else jnp.broadcast_to(jnp.asarray(given, own.dtype), own.shape)

        wanted = jax.tree.map(lambda _: None, params) if rho is None else jax.tree.broadcast(rho, params)
        return ProjectState(jax.tree_util.tree_map_with_path(norm_of, params, chosen, wanted))

    def update(updates: Any, state: ProjectState, params: Any = None) -> tuple[Any, ProjectState]:
        if params is None:
            raise ValueError("params must be given: project_to_norm scales the parameters after the update")

        def project(path: tuple[Any, ...], step: Array, leaf: Array, kept: Float[Array, "..."] | None) -> Array:
            if kept is None:
                return step
            moved = widened(leaf) + step
            size = norm_over(moved, layer_axes(path))
            projects = (kept > 0) & (size > 0)
            factor = kept / jnp.where(projects, size, 1)
            return jnp.where(projects, factor * moved - leaf, step).astype(step.dtype)

        return jax.tree_util.tree_map_with_path(project, updates, params, state.rho), state

    return optax.GradientTransformation(init, update)  # pyright: ignore[reportArgumentType]
