"""Which tensors a decay acts on."""

from typing import Any

import jax

from lrstudy.optimizers.paths import names

UNDECAYED = ("bias", "scale")


def decay_mask(params: Any) -> Any:
    """Kernels and embeddings: true for a tensor of at least two axes that is not called ``bias`` or ``scale``.

    The names matter where layers are stacked: there a norm's gain has two axes, layers by width.

    Args:
        params: tree of tensors, of which only paths and shapes are looked at.

    Returns:
        A tree of ``bool`` of the same structure.

    Example:
        >>> import jax.numpy as jnp
        >>> decay_mask({"kernel": jnp.ones((2, 3)), "bias": jnp.ones(3)})
        {'bias': False, 'kernel': True}
    """

    def is_decayed(path: tuple[Any, ...], leaf: Any) -> bool:
        return leaf.ndim >= 2 and not (path and names(path)[-1] in UNDECAYED)

    return jax.tree_util.tree_map_with_path(is_decayed, params)
