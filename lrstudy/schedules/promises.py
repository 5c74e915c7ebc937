"""What every schedule promises, as checks that a schedule of a user's own can be put to."""

import dataclasses
import json
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lrstudy.schedules.base import VERSION, Schedule
from lrstudy.schedules.checks import ScheduleError
from lrstudy.schedules.stacking import stack

_ROUNDING = 1e-6
"""Of the highest rate: what a program that computes several schedules side by side may round otherwise."""


class PromiseError(AssertionError):
    """A promise is not kept; the message says which."""


def promise(kept: Any, text: str) -> None:
    """Refuses a promise that is not kept.

    Raises:
        PromiseError: with this text.
    """
    if not kept:
        raise PromiseError(text)


def check_promises(schedule: Schedule, steps: Sequence[int] = tuple(range(101))) -> None:
    """Checks that a schedule is what sweeps, optimizers and records take it for.

    A rate at every step that is finite and not negative, held before step 0; the same bits for Python, NumPy and traced
    steps; a tree of numbers, so that schedules which differ in numbers alone share one compiled program, as lanes too;
    a finite derivative in each of its numbers; a dictionary from which it can be made again.

    Args:
        schedule: with plain numbers in its fields.
        steps: at which it is looked at, increasing from 0; all its changes of phase should be among them.

    Raises:
        PromiseError: one is not kept.
    """
    name = type(schedule).__name__
    promise(isinstance(schedule, Schedule), f"{name} must subclass Schedule")
    promise(dataclasses.is_dataclass(schedule), f"{name} must be a dataclass")
    several = np.asarray(steps, np.int32)
    rates = np.asarray(schedule(several))
    promise(rates.shape == several.shape, f"{name}: rates must have the shape of the steps, got {rates.shape}")
    promise(rates.dtype == np.float32, f"{name}: rates must be float32, got {rates.dtype}")
    bad = several[~(np.isfinite(rates) & (rates >= 0))]
    promise(not len(bad), f"{name}: rates must be finite and at least 0, got others at steps {bad[:3].tolist()}")
    promise(schedule(-1) == schedule(0), f"{name}: the rate before step 0 must be that of step 0")
    _check_steps(name, schedule, several, rates)
    _check_tree(name, schedule)
    _check_lanes(name, schedule, several, rates)
    _check_slopes(name, schedule, several)
    _check_dictionary(name, schedule)


def _check_steps(name: str, schedule: Schedule, steps: np.ndarray, rates: np.ndarray) -> None:
    """One step at a time, in every kind of integer, and nothing else."""
    traced = jax.jit(schedule)
    for step in (0, len(steps) // 2, len(steps) - 1):
        plain = int(steps[step])
        kinds = {"a Python int": plain, "a NumPy int": np.int64(plain), "a JAX int": jnp.int32(plain)}
        for kind, given in kinds.items():
            rate = np.asarray(schedule(given))
            promise(rate.shape == () and rate == rates[step], f"{name}: {kind} must give the rate of an array of steps")
        promise(traced(jnp.int32(plain)) == rates[step], f"{name}: a traced step must give the rate of a known one")
    try:
        schedule(1.0)
    except ScheduleError:
        return
    raise PromiseError(f"{name}: a step that is no int must be refused with a ScheduleError")


def _check_tree(name: str, schedule: Schedule) -> None:
    leaves, structure = jax.tree.flatten(schedule)
    promise(leaves, f"{name}: at least one field must be a number")
    promise(all(not isinstance(leaf, str) for leaf in leaves), f"{name}: a field that is text must be annotated `str`")
    promise(structure.unflatten(leaves) == schedule, f"{name}: its numbers must make an equal schedule again")


def _halved(schedule: Schedule) -> Schedule:
    """The schedule of half of each number that is no count."""
    return jax.tree.map(lambda x: x if np.issubdtype(np.asarray(x).dtype, np.integer) else x / 2, schedule)


def _check_lanes(name: str, schedule: Schedule, steps: np.ndarray, rates: np.ndarray) -> None:
    """Its numbers are data: others need no other program, and several may be computed at once."""
    traces = 0

    @jax.jit
    def given(schedule: Schedule) -> jax.Array:
        nonlocal traces
        traces += 1
        return schedule(steps)

    passed, halves = np.asarray(given(schedule)), np.asarray(given(_halved(schedule)))
    promise(traces == 1, f"{name}: other numbers must not need another program")
    highest, error = rates.max(), np.abs(passed - rates).max()
    promise(error <= _ROUNDING * highest, f"{name}: as data of a program it must give its rates, off by {error:.3g}")
    together = np.asarray(jax.vmap(lambda one: one(steps))(stack([schedule, _halved(schedule)])))
    error = np.abs(together - np.stack([passed, halves])).max()
    promise(error <= _ROUNDING * highest, f"{name}: lanes must give the rates of each alone, off by {error:.3g}")


def _check_slopes(name: str, schedule: Schedule, steps: np.ndarray) -> None:
    floats = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float32), schedule)
    slopes = jax.jit(jax.grad(lambda one: one(steps).sum()))(floats)
    for path, slope in jax.tree.leaves_with_path(slopes):
        field = jax.tree_util.keystr(path).lstrip(".")
        promise(np.isfinite(slope).all(), f"{name}: the derivative with respect to {field} must be finite")


def _check_dictionary(name: str, schedule: Schedule) -> None:
    data = json.loads(json.dumps(schedule.to_dict()))
    promise(data.pop("name") == name and data.pop("version") == VERSION, f"{name}: to_dict must give name and version")
    if any(isinstance(value, dict) or (isinstance(value, list) and value and isinstance(value[0], dict))
           for value in data.values()):  # fmt: skip
        return  # made of other schedules, which from_dict revives
    arguments = {key: tuple(value) if isinstance(value, list) else value for key, value in data.items()}
    promise(type(schedule)(**arguments) == schedule, f"{name}: its dictionary must make an equal schedule again")
