"""The part of a tree of tensors that has optimizer state, by the kinds of FRUGAL's subspaces."""

import re
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Int

from lrstudy.optimizers.frugal_matrix import KINDS, Free, Layout
from lrstudy.optimizers.muon import dimension_numbers
from lrstudy.optimizers.paths import STACK, layer_axes, names

ORDERS = ("random", "ascending", "descending", "mirror")


class Matrices:
    """Every matrix has a subspace of its own.

    Bases and coordinates are trees like the parameters; tensors that have none are ``MaskedNode``.
    """

    def __init__(self, kind: str, density: float, params: Any, chosen: Any) -> None:
        self.kind = KINDS[kind]
        self.density = density
        self.layouts = jax.tree_util.tree_map_with_path(self._layout, params, chosen, _splits(params))

    def _layout(self, path: tuple[Any, ...], leaf: Any, is_chosen: bool, split: int) -> Layout | None:
        if not is_chosen:
            return None
        first = layer_axes(path)
        if leaf.ndim - first < 2:
            name = jax.tree_util.keystr(path, simple=True, separator="/")
            raise ValueError(
                f"mask must choose tensors of at least two axes, got one of shape {leaf.shape} at {name!r}"
            )
        layout = Layout.of(leaf.shape, first, split)
        return layout if self._size(layout) else None

    def _size(self, layout: Layout) -> int:
        return self.kind.size(layout.shape, self.density)

    def _map(self, function: Any, tree: Any, *rest: Any) -> Any:
        def of(leaf: Any, layout: Layout | None, *others: Any) -> Any:
            return optax.MaskedNode() if layout is None else function(layout, leaf, *others)

        return jax.tree.map(of, tree, self.layouts, *rest)

    def blank(self, params: Any) -> Any:
        """Bases before the first draw."""

        def zeros(layout: Layout, leaf: Any) -> Array:
            del leaf
            basis = self.kind.blank(layout.shape, self._size(layout))
            return basis if layout.layers is None else jnp.broadcast_to(basis, (layout.layers, *basis.shape))

        return self._map(zeros, params)

    def draw(self, key: Array, turn: Int[Array, ""], gradients: Any) -> Any:
        """New bases."""
        del turn
        keys = iter(jax.random.split(key, len(jax.tree.leaves(gradients))))

        def drawn(layout: Layout, gradient: Array) -> Array:
            own, n = next(keys), self._size(layout)
            own = own if layout.layers is None else jax.random.split(own, layout.layers)
            wide = gradient.astype(jnp.promote_types(gradient.dtype, jnp.float32))
            return layout.each(lambda k, g: self.kind.draw(k, g, n))(own, layout.matrices(wide))

        return self._map(drawn, gradients)

    def down(self, tree: Any, bases: Any) -> Any:
        """The coordinates of tensors in the subspaces, in the tensors' type."""

        def lowered(layout: Layout, leaf: Array, basis: Array) -> Array:
            return layout.each(self.kind.down)(layout.matrices(leaf), basis).astype(leaf.dtype)

        return self._map(lowered, tree, bases)

    def join(self, gradients: Any, low: Any, steps: Any, bases: Any, free: Free) -> Any:
        """Steps of whole tensors: those of the subspaces, and ``free`` of what of the gradient lies outside of them."""

        def joined(gradient: Array, layout: Layout | None, low: Any, step: Any, basis: Any) -> Array:
            if layout is None:
                return free(gradient)
            one = layout.each(lambda g, x, u, b: self.kind.join(g, x, u, b, free))
            return one(layout.matrices(gradient), low, step, basis).reshape(gradient.shape)

        return jax.tree.map(joined, gradients, self.layouts, low, steps, bases)


class Place(NamedTuple):
    """Where the blocks of a tensor are among all blocks: one, or one for every layer of a stack."""

    first: int
    layers: int
    size: int


class Blocks:
    """Whole tensors take turns; coordinates are one vector, into which those whose turn it is are laid end to end.

    A layer of a stack is a block of its own. The basis says which blocks have their turn.
    """

    def __init__(self, order: str, density: float, params: Any, chosen: Any) -> None:
        self.order = order
        found = jax.tree_util.tree_leaves_with_path(params)
        chosen = jax.tree.leaves(chosen)
        places, depths, sizes = [], [], []
        for (path, leaf), is_chosen in zip(found, chosen, strict=True):
            layers = leaf.shape[0] if layer_axes(path) else 1
            place = Place(len(sizes), layers, leaf.size // layers) if is_chosen else None
            places.append(place)
            if place is not None:
                sizes += [place.size] * layers
                depths += [_depth(path, layer) for layer in range(layers)]
        self.places: list[Place | None] = places
        self.sizes = np.asarray(sizes, int)
        self.sequence = np.asarray(sorted(range(len(sizes)), key=depths.__getitem__), int)
        self.turns = round(len(sizes) * density)
        self.room = self._room()

    def _room(self) -> int:
        """The most entries that the blocks of a turn have together."""
        if self.order == "random":
            return int(np.sort(self.sizes)[::-1][: self.turns].sum())
        around = np.concatenate([self.sizes[self.sequence]] * 2)
        starts = range(len(self.sizes))
        return max((int(around[i : i + self.turns].sum()) for i in starts), default=0)

    def blank(self, params: Any) -> Any:
        """No blocks in particular; a density of which none has its turn has no basis."""
        del params
        return jnp.zeros(self.turns, jnp.int32) if self.turns else optax.MaskedNode()

    def draw(self, key: Array, turn: Int[Array, ""], gradients: Any) -> Any:
        """The blocks of a turn."""
        if not self.turns:
            return self.blank(gradients)
        many, sequence = len(self.sizes), jnp.asarray(self.sequence, jnp.int32)
        if self.order == "random":
            return jax.random.permutation(key, sequence)[: self.turns]
        sweep = -(-many // self.turns)
        begin = turn % sweep if self.order == "mirror" else turn
        place = (begin * self.turns + jnp.arange(self.turns)) % many
        backwards = (turn // sweep) % 2 == 1 if self.order == "mirror" else self.order == "descending"
        return sequence[jnp.where(backwards, many - 1 - place, place)]

    def down(self, tree: Any, basis: Any) -> Any:
        """The entries of the blocks whose turn it is, in the type of the widest tensor."""
        if not self.turns:
            return optax.MaskedNode()
        leaves = [(leaf, place) for leaf, place in zip(jax.tree.leaves(tree), self.places, strict=True) if place]
        kind = jnp.result_type(*(leaf for leaf, _ in leaves))
        vector = jnp.zeros(self.room, kind)
        for leaf, place in leaves:
            blocks = leaf.reshape(place.layers, place.size).astype(kind)

            def laid(vector: Array, block: tuple[Array, Array, Array], size: int = place.size) -> tuple[Array, None]:
                values, has_turn, offset = block
                # What is there stays where it is not this block's turn.
                there = jax.lax.dynamic_slice(vector, (offset,), (size,))
                return jax.lax.dynamic_update_slice(vector, jnp.where(has_turn, values, there), (offset,)), None

            rows = (blocks, *self._turns_of(basis, place))
            vector, _ = jax.lax.scan(laid, vector, rows, unroll=place.layers == 1)
        return vector

    def join(self, gradients: Any, low: Any, steps: Any, basis: Any, free: Free) -> Any:
        """Steps of whole tensors: those of the blocks whose turn it is, and ``free`` of the gradients of the others."""
        del low

        def joined(gradient: Array, place: Place | None) -> Array:
            if place is None or not self.turns:
                return free(gradient)

            def one(g: Array, has_turn: Array, offset: Array) -> Array:
                own = jax.lax.dynamic_slice(steps, (offset,), (place.size,))
                return jnp.where(has_turn, own, free(g))

            blocks = gradient.reshape(place.layers, place.size)
            return jax.vmap(one)(blocks, *self._turns_of(basis, place)).reshape(gradient.shape)

        leaves, structure = jax.tree.flatten(gradients)
        return structure.unflatten(map(joined, leaves, self.places))

    def _turns_of(self, basis: Int[Array, " turns"], place: Place) -> tuple[Array, Array]:
        """For the blocks of a tensor: whether they have their turn, and where they begin in the vector."""
        sizes = jnp.asarray(self.sizes, jnp.int32)
        has_turn = jnp.zeros(len(self.sizes), bool).at[basis].set(True)
        taken = jnp.where(has_turn, sizes, 0)
        here = slice(place.first, place.first + place.layers)
        return has_turn[here], (jnp.cumsum(taken) - taken)[here]


def _splits(params: Any) -> Any:
    """The first axis of every tensor's outputs, where it is a kernel; otherwise the last axis."""

    def split(leaf: Any, numbers: Any) -> int:
        return leaf.ndim - 1 if numbers is None else numbers.output_axis[0]

    return jax.tree.map(split, params, dimension_numbers(params))


def _depth(path: tuple[Any, ...], layer: int) -> tuple[Any, ...]:
    """What blocks are sorted by: names, where layer 10 is after layer 9, and a stack is its layers one by one."""
    words = names(path)
    if layer_axes(path):
        begin = words.index(STACK) + 1
        words = (*words[:begin], str(layer), *words[begin:])
    return tuple(tuple(int(part) if part.isdigit() else part for part in re.split(r"(\d+)", w)) for w in words)
