"""A tree of tensors as layers that are alike, and what is outside of them."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Int

from lrstudy.optimizers.paths import layer_axes


class Layered:
    """Layers of a tree, whether they are stacked on the first axis of tensors or are tensors of their own.

    A layer is itself a tree like the whole, in the place of its first layer, with ``MaskedNode`` elsewhere; where
    layers are stacked their axis stays, of length one, so that names and axes mean what they did.

    Attributes:
        number: of layers.
    """

    def __init__(self, tree: Any, layer_of: Callable[[tuple[Any, ...]], int | None]) -> None:
        """Looks at paths and shapes of a tree.

        Raises:
            ValueError: layers that are not numbered from 0 or are not alike.
        """
        found, self._structure = jax.tree_util.tree_flatten_with_path(tree)
        self._stacked = [i for i, (path, _) in enumerate(found) if layer_axes(path)]
        self._outside, single = [], {}
        for i, (path, _) in enumerate(found):
            if i not in self._stacked:
                layer = layer_of(path)
                (self._outside if layer is None else single.setdefault(layer, [])).append(i)
        if sorted(single) != list(range(len(single))):
            raise ValueError(f"layer_of must number layers from 0 on, got {sorted(single)}")
        shapes = [[found[i][1].shape for i in single[layer]] for layer in range(len(single))]
        if any(shape != shapes[0] for shape in shapes):
            raise ValueError(f"layer_of must give layers that are alike, got the shapes {shapes}")
        # For every tensor of a layer, where it is in each of the layers.
        self._single = list(zip(*(single[layer] for layer in range(len(single))), strict=True))
        sizes = {found[i][1].shape[0] for i in self._stacked} | ({len(single)} if single else set())
        if len(sizes) > 1:
            raise ValueError(f"layer_of must give as many layers as are stacked, got {sorted(sizes)}")
        self.number: int = sizes.pop() if sizes else 0

    def _tree(self, leaves: dict[int, Any]) -> Any:
        return self._structure.unflatten([leaves.get(i, optax.MaskedNode()) for i in range(self._structure.num_leaves)])

    def outside(self, tree: Any) -> Any:
        """What is in no layer."""
        leaves = self._structure.flatten_up_to(tree)
        return self._tree({i: leaves[i] for i in self._outside})

    def take(self, tree: Any, layers: Int[Array, " taken"]) -> Any:
        """Some layers, stacked on a new first axis."""
        leaves = self._structure.flatten_up_to(tree)
        taken = {i: leaves[i][layers][:, None] for i in self._stacked}
        if self._single:
            # Reads the layers that are asked for and no others.
            branches = [
                lambda layer=layer: [leaves[where[layer]] for where in self._single] for layer in range(self.number)
            ]
            one_by_one = [jax.lax.switch(layers[k], branches) for k in range(len(layers))]
            for j, where in enumerate(self._single):
                taken[where[0]] = jnp.stack([layer[j] for layer in one_by_one])
        return self._tree(taken)

    def put(self, taken: Any, layers: Int[Array, " taken"], outside: Any, like: Any) -> Any:
        """The whole tree: some layers in their places, zeros in those of the others, and what is outside."""
        inside, outer, shaped = (self._structure.flatten_up_to(tree) for tree in (taken, outside, like))
        leaves = {i: outer[i] for i in self._outside}
        for i in self._stacked:
            leaves[i] = jnp.zeros(shaped[i].shape, inside[i].dtype).at[layers].set(inside[i][:, 0], unique_indices=True)
        for where in self._single:
            steps = inside[where[0]]
            for layer, i in enumerate(where):
                is_here = layers == layer
                leaves[i] = jnp.where(jnp.any(is_here), steps[jnp.argmax(is_here)], 0)
        return self._tree(leaves)
