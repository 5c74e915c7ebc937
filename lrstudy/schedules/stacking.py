"""Many schedules as one: a schedule with batched leaves."""

from collections.abc import Sequence
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from lrstudy.schedules.base import Schedule, field_names, static_names
from lrstudy.schedules.checks import fail

S = TypeVar("S", bound=Schedule)
_OWNER = "stack"


def stack(schedules: Sequence[S]) -> S:
    """Stacks schedules of one class along a new first axis of every leaf.

    ``jax.vmap(lambda s, t: s(t), in_axes=(0, None))(stack(schedules), step)`` is the rate of each at `step`.

    Args:
        schedules: at least one; all of one class, with equal static arguments, with the same arguments None and the
            same number of `ends`.

    Returns:
        A schedule whose leaves have the leading axis ``len(schedules)``: NumPy arrays of int32 and of the float type
        (float32, or float64 under x64), or JAX arrays where one of the schedules holds some.

    Raises:
        ScheduleError: if the schedules do not stack; it names the first that differs from ``schedules[0]``.

    Example:
        >>> from lrstudy.schedules import Linear
        >>> both = stack([Linear(1.0, 100), Linear(0.5, 200)])
        >>> both.peak.tolist(), both.total_steps.tolist()
        ([1.0, 0.5], [100, 200])
        >>> jax.vmap(lambda schedule: schedule(50))(both).tolist()
        [0.5, 0.375]
    """
    listed = list(schedules) if isinstance(schedules, Sequence) else []
    if not listed or not all(isinstance(schedule, Schedule) for schedule in listed):
        fail(_OWNER, "schedules", "a non-empty sequence of schedules", schedules)
    first = listed[0]
    for i, other in enumerate(listed[1:], 1):
        _check_same_class(first, other, f"schedules[{i}]")
    return jax.tree.map(lambda *leaves: _stack_leaves(leaves), *listed)


def _check_same_class(first: Schedule, other: Schedule, argument: str) -> None:
    """Checks that two schedules, or two that others are made of, have one structure."""
    if type(other) is not type(first):
        fail(_OWNER, argument, f"a {type(first).__name__} like schedules[0]", other)
    for name in field_names(type(first)):
        _check_alike(first, other, name, f"{argument}.{name}")


def _check_alike(first: Schedule, other: Schedule, name: str, argument: str) -> None:
    """Checks that a field of `other` has the structure that it has in `first`."""
    wanted, given = getattr(first, name), getattr(other, name)
    if isinstance(wanted, Schedule):
        _check_same_class(wanted, given, argument)
    elif name in static_names(type(first)):
        if given != wanted:
            fail(_OWNER, argument, f"{wanted!r} as in schedules[0]", given)
    elif _made_of_schedules(wanted) and len(given) == len(wanted):
        for i, (one, another) in enumerate(zip(wanted, given, strict=True)):
            _check_same_class(one, another, f"{argument}[{i}]")
    elif jax.tree.structure(given) != jax.tree.structure(wanted):
        rule = f"of {len(wanted)} elements" if isinstance(wanted, tuple) else "a number"
        fail(_OWNER, argument, f"{'None' if wanted is None else rule} as in schedules[0]", given)
    elif [np.shape(leaf) for leaf in jax.tree.leaves(given)] != [np.shape(leaf) for leaf in jax.tree.leaves(wanted)]:
        fail(_OWNER, argument, "of the shape that it has in schedules[0]", given)


def _made_of_schedules(value: Any) -> bool:
    return isinstance(value, tuple) and all(isinstance(element, Schedule) for element in value)


def _stack_leaves(leaves: tuple[Any, ...]) -> np.ndarray | jax.Array:
    if any(isinstance(leaf, jax.Array) for leaf in leaves):
        return jnp.stack([jnp.asarray(leaf) for leaf in leaves])
    stacked = np.stack(leaves)
    is_int = np.issubdtype(stacked.dtype, np.integer)
    return stacked.astype(np.int32 if is_int else jnp.result_type(float))
