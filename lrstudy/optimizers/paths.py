"""What the names of a tensor's path say about its axes."""

from typing import Any

import jax

STACK = "blocks"
"""The module whose tensors hold all layers at once (``nn.scan``): their first axis counts layers."""


def names(path: tuple[Any, ...]) -> tuple[str, ...]:
    """The names on the way to a leaf, ``("readout", "kernel")``; of a tree that is one tensor there are none."""
    return tuple(jax.tree_util.keystr((entry,), simple=True) for entry in path)


def layer_axes(path: tuple[Any, ...]) -> int:
    """The number of leading axes that count layers: 1 for a tensor below ``blocks``, otherwise 0."""
    return int(STACK in names(path)[:-1])
