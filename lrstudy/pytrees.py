"""Frozen dataclasses as pytrees: some fields are leaves, the others part of the tree's structure."""

import dataclasses
from collections.abc import Iterable
from typing import Any, TypeVar

import jax

T = TypeVar("T")


def register(cls: type[T], leaves: Iterable[str]) -> type[T]:
    """Registers a frozen dataclass as a pytree node.

    JAX's own registration rebuilds an instance through its constructor, which would check the values of a tree that
    holds tracers, placeholders or ``None``; this one bypasses the constructor.

    Args:
        cls: the dataclass.
        leaves: the fields that are children; the others are static and must be hashable.

    Returns:
        ``cls`` itself.
    """
    children = tuple(leaves)
    static = tuple(f.name for f in dataclasses.fields(cls) if f.name not in children)  # pyright: ignore[reportArgumentType]

    def flatten(node: Any) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        return tuple(getattr(node, f) for f in children), tuple(getattr(node, f) for f in static)

    def flatten_with_keys(node: Any) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        values, aux = flatten(node)
        return tuple(zip(map(jax.tree_util.GetAttrKey, children), values, strict=True)), aux

    def unflatten(aux: tuple[Any, ...], values: Iterable[Any]) -> Any:
        node = object.__new__(cls)
        for name, value in (*zip(static, aux, strict=True), *zip(children, values, strict=True)):
            object.__setattr__(node, name, value)
        return node

    jax.tree_util.register_pytree_with_keys(cls, flatten_with_keys, unflatten, flatten)
    return cls
