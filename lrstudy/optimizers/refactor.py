"""Low-rank products that are factored anew, both factors at the same norm."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float

from lrstudy.optimizers.checks import check_period
from lrstudy.optimizers.paths import names

Refactor = Callable[..., tuple[Any, optax.OptState]]


def refactor_lowrank(
    every: int | Array, *, factors: tuple[str, str] = ("B", "A"), init: Callable[[Any], optax.OptState] | None = None
) -> Refactor:
    """Factors products W = BA anew every so many updates, with B and A of the same norm and fresh optimizer state.

    With the singular value decomposition BA = U S V^T the factors become B = U S^(1/2) and A = S^(1/2) V^T, so that BA
    is what it was and |B|_F = |A|_F. What the optimizer remembers of the old factors means nothing for the new ones
    and is reset with them. Parameters and state change together, so this is no transform of updates; it is called in
    the step, after the update, and the decomposition is computed only where it is due::

        refactor = refactor_lowrank(200)

        @jax.jit
        def step(params, opt_state, batch, count):
            grads = jax.grad(loss)(params, batch)
            updates, opt_state = transform.update(grads, opt_state, params)
            params = optax.apply_updates(params, updates)
            return *refactor(params, opt_state, count + 1), count + 1

    A product of lower rank than its factors, such as LoRA's at its start, where B is zero, is left alone with its
    state: a direction that vanishes in both factors would have no gradient and never come back.

    Under ``vmap`` over counts the decomposition is computed at every update. Factors of fewer than 32 bits are rounded
    to their type, and the product with them. Counts of updates belong to all tensors and stay; see ``periodic_reset``
    for what that does to Adam's next step.

    Args:
        every: updates from one factorisation to the next.
        factors: names of the left and the right factor, which are siblings in the tree of parameters, of shapes
            (..., m, r) and (..., r, n); leading axes count layers.
        init: the transform's ``init``, for optimizers whose state does not begin at zero, such as those that keep
            parameters; ``None``: what the state holds of a factor, found by the names on its path, becomes zero.

    Returns:
        ``refactor(params, opt_state, count) -> (params, opt_state)``, ``count`` being the number of updates made,
        after which it acts if that is a positive multiple of ``every``.

    Raises:
        ValueError: a period below 1; when called, parameters that do not have such factors.
    """
    check_period("every", every)

    def refactor(params: Any, opt_state: optax.OptState, count: Any) -> tuple[Any, optax.OptState]:
        due = (jnp.asarray(count) > 0) & (jnp.asarray(count) % every == 0)
        found = _pairs(params, factors)

        def act(params: Any, opt_state: optax.OptState) -> tuple[Any, optax.OptState]:
            params, changed = _refactored(params, found)
            fresh = jax.tree.map(jnp.zeros_like, opt_state) if init is None else init(params)
            return params, _reset(opt_state, fresh, changed)

        return jax.lax.cond(due, act, lambda *unchanged: unchanged, params, opt_state)

    return refactor


Names = tuple[str, ...]


def _pairs(params: Any, factors: tuple[str, str]) -> list[tuple[Names, Names]]:
    """The names on the way to both factors of every product.

    Raises:
        ValueError: there are none, one has no partner, or shapes do not fit.
    """
    shapes = {names(path): leaf.shape for path, leaf in jax.tree_util.tree_leaves_with_path(params)}
    parents = sorted({path[:-1] for path in shapes if path and path[-1] in factors})
    if not parents:
        raise ValueError(f"factors must be names of tensors, got {factors!r}, which are not there")
    found = []
    for parent in parents:
        left, right = ((*parent, name) for name in factors)
        a, b = shapes.get(left, ()), shapes.get(right, ())
        if min(len(a), len(b)) < 2 or a[:-2] != b[:-2] or a[-1] != b[-2]:
            raise ValueError(
                f"factors must have the shapes (..., m, r) and (..., r, n), got {a} and {b} at {'/'.join(parent)!r}"
            )
        found.append((left, right))
    return found


def _refactored(params: Any, pairs: list[tuple[Names, Names]]) -> tuple[Any, dict[Names, Bool[Array, "..."]]]:
    """The parameters with their new factors, and which of the factors are new, layer by layer."""
    leaves = {names(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(params)}
    changed = {}
    for left, right in pairs:
        *balanced, is_full = _balanced(leaves[left], leaves[right])
        for path, new in zip((left, right), balanced, strict=True):
            leaves[path] = jnp.where(is_full[..., None, None], new, leaves[path]).astype(leaves[path].dtype)
            changed[path] = is_full
    return jax.tree_util.tree_map_with_path(lambda path, _: leaves[names(path)], params), changed


def _balanced(
    left: Float[Array, "*layers m r"], right: Float[Array, "*layers r n"]
) -> tuple[Float[Array, "*layers m k"], Float[Array, "*layers k n"], Bool[Array, "*layers"]]:
    """Factors of the same product with the same norm, and whether it has full rank; the first two mean nothing if not.

    The decomposition is that of an r x r matrix, between orthogonal bases of what the factors span.
    """
    kind = jnp.promote_types(left.dtype, jnp.float32)
    with jax.default_matmul_precision("highest"):
        columns, upper = jnp.linalg.qr(left.astype(kind))
        rows, lower = jnp.linalg.qr(jnp.swapaxes(right.astype(kind), -1, -2))
        u, s, vt = jnp.linalg.svd(upper @ jnp.swapaxes(lower, -1, -2), full_matrices=False)
        root = jnp.sqrt(s)
        new_left = (columns @ u) * root[..., None, :]
        new_right = root[..., :, None] * (vt @ jnp.swapaxes(rows, -1, -2))
    if s.shape[-1] < left.shape[-1]:
        return left, right, jnp.zeros(left.shape[:-2], bool)
    # The least singular value that is told from rounding, as numpy.linalg.matrix_rank has it.
    least = s[..., 0] * max(left.shape[-2], right.shape[-1]) * jnp.finfo(kind).eps
    return new_left, new_right, s[..., -1] > least


def _reset(opt_state: Any, fresh: Any, changed: dict[Names, Bool[Array, "..."]]) -> Any:
    """The state with what belongs to new factors replaced: where the end of a path is the path of a parameter."""

    def reset(path: tuple[Any, ...], old: Array, new: Array) -> Array:
        words = names(path)
        owner = next((words[i:] for i in range(len(words)) if words[i:] in changed), None)
        if owner is None:
            return old
        is_new = changed[owner]
        if old.shape[: is_new.ndim] == is_new.shape:
            is_new = is_new.reshape(is_new.shape + (1,) * (old.ndim - is_new.ndim))
        else:  # of all layers together
            is_new = jnp.any(is_new)
        return jnp.where(is_new, new, old).astype(old.dtype)

    return jax.tree_util.tree_map_with_path(reset, opt_state, fresh)
