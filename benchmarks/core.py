"""What one core can do: matrix products in float32, and moving memory."""

import statistics
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

PRODUCT_WORK, COPY_WORK = 3e9, 3e8
"""Floating-point operations and bytes of a measurement."""


def product_rate(rows: int, inner: int, columns: int, repeats: int) -> float:
    """Operations a second of a product of float32 matrices."""
    key = jax.random.key(0)
    first, second = jax.random.normal(key, (rows, inner)), jax.random.normal(key, (inner, columns))

    def one(x: Any, other: Any) -> Any:
        return x + 1e-30 * (x @ other)[:, :1]  # so that each product needs the last one

    return _rate(one, (first, second), 2.0 * rows * inner * columns, PRODUCT_WORK, repeats)


def kernel_gradient_rate(tokens: int, inputs: int, outputs: int, repeats: int) -> float:
    """Operations a second of a product that sums over the rows of both its matrices, as a kernel's gradient does."""
    key = jax.random.key(0)
    first, second = jax.random.normal(key, (tokens, inputs)), jax.random.normal(key, (tokens, outputs))

    def one(x: Any, other: Any) -> Any:
        return x + 1e-30 * (x.T @ other)[:, 0]

    return _rate(one, (first, second), 2.0 * tokens * inputs * outputs, PRODUCT_WORK, repeats)


def copy_rate(size: int, repeats: int) -> float:
    """Bytes a second, read and written, of a pass over so many bytes."""

    def one(x: Any) -> Any:
        return 0.999 * x

    return _rate(one, (jnp.ones(size // 4, jnp.float32),), 2.0 * size, COPY_WORK, repeats)


def _rate(one: Callable[..., Any], arguments: tuple[Any, ...], work: float, enough: float, repeats: int) -> float:
    """Work a second of CPU time, of a function whose first argument is its own last result."""
    count = max(8, int(enough / work))
    first, others = arguments[0], arguments[1:]

    def again(held: Any, *others: Any) -> Any:
        return jax.lax.fori_loop(0, count, lambda _, x: one(x, *others), held)

    loop = jax.jit(again, donate_argnums=0)
    first, taken = loop(first, *others).block_until_ready(), list[float]()
    for _ in range(repeats):
        began = time.process_time()
        first = loop(first, *others).block_until_ready()
        taken.append(time.process_time() - began)
    return count * work / statistics.median(taken)
