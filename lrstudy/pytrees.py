"""Frozen dataclasses as pytrees: some fields are leaves, the others part of the tree's structure."""

import dataclasses
import functools
from collections.abc import Callable, Collection, Iterable
from typing import Any, TypeVar

import jax

T = TypeVar("T")
IsLeaf = Callable[[dataclasses.Field[Any]], bool]


def register(cls: type[T], leaves: Collection[str] | IsLeaf) -> type[T]:
    """Registers a frozen dataclass as a pytree node.

    JAX's own registration rebuilds an instance through its constructor, which would check the values of a tree that
    holds tracers, placeholders or ``None``; this one bypasses the constructor. The fields are read at first use, so a
    base class may register its subclasses before the dataclass decorator has seen them.

    Args:
        cls: the dataclass.
        leaves: the names of the fields that are children, or which of the fields are; the others are static and must
            be hashable.

    Returns:
        ``cls`` itself.
    """

    def is_leaf(field: dataclasses.Field[Any]) -> bool:
        return leaves(field) if callable(leaves) else field.name in leaves

    @functools.cache
    def names() -> tuple[tuple[str, ...], tuple[str, ...]]:
        fields = dataclasses.fields(cls)  # pyright: ignore[reportArgumentType]
        return tuple(f.name for f in fields if is_leaf(f)), tuple(f.name for f in fields if not is_leaf(f))

    def flatten(node: Any) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        children, static = names()
        return tuple(getattr(node, f) for f in children), tuple(getattr(node, f) for f in static)

    def flatten_with_keys(node: Any) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        values, aux = flatten(node)
        return tuple(zip(map(jax.tree_util.GetAttrKey, names()[0]), values, strict=True)), aux

    def unflatten(aux: tuple[Any, ...], values: Iterable[Any]) -> Any:
        node = object.__new__(cls)
        children, static = names()
        for name, value in (*zip(static, aux, strict=True), *zip(children, values, strict=True)):
            object.__setattr__(node, name, value)
        return node

    jax.tree_util.register_pytree_with_keys(cls, flatten_with_keys, unflatten, flatten)
    return cls
