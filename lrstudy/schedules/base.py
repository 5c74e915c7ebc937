"""The base of every schedule: a frozen, callable dataclass whose numbers are pytree leaves."""

import abc
import dataclasses
import functools
from collections.abc import Iterable
from typing import Any, ClassVar, Self

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.core import Tracer

from lrstudy import pytrees
from lrstudy.schedules.checks import fail, is_array, one_of
from lrstudy.schedules.steps import as_steps, canonical, real

VERSION = 1


@dataclasses.dataclass(frozen=True)
class Schedule(abc.ABC):
    """A learning rate as a function of the step.

    A step is one optimizer update; step t counts the updates already applied, from 0, so update t + 1 uses ``f(t)``.
    Subclasses are frozen dataclasses. A field annotated ``str`` is static; every other field is a number (or a tuple of
    numbers) and a leaf of the pytree, None being no leaf. Fields may hold arrays or tracers: their values are then not
    checked, and one program serves them all under ``jax.jit`` and ``jax.vmap``. A field that counts steps may hold a
    float array, so that a gradient with respect to it exists.
    """

    tables: ClassVar[tuple[str, ...]] = ()
    """Fields that hold an array of numbers where other fields hold a number."""
    paper: ClassVar[str] = ""
    """Where the rule comes from; empty where it is nobody's."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        pytrees.register(cls, lambda field: not is_static(field))

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:  # noqa: D102  it would be shown as the class's arguments
        del args
        # An unknown keyword is refused by the one form of error instead of a TypeError.
        check_names(cls, kwargs)
        return object.__new__(cls)

    def __call__(self, step: Any) -> jax.Array:
        """The learning rate of the update that follows `step` updates.

        Args:
            step: Python int of any size, NumPy int or int array, or JAX int array or tracer; negative steps count as 0.

        Returns:
            float32 (float64 under x64) of the shape of `step`.

        Raises:
            ScheduleError: for a step that is not an int or an array of ints.
        """
        return _rate(self, as_steps(type(self).__name__, step))

    @abc.abstractmethod
    def rate(self, step: jax.Array) -> jax.Array:
        """The formula, for the use of ``__call__``.

        Args:
            step: int32, at least 0, any shape.

        Returns:
            the rate, in the shape of `step`. Fields are arrays here: int32, or the float type; and `settled`.
        """

    def settled(self) -> "Schedule":
        """This schedule with step counts in place of fractions, for the use of `rate`; its fields are arrays."""
        return self

    def trunk(self) -> "tuple[Schedule, int] | None":
        """The schedule that this one can branch from and the step at which it departs, or None.

        Both give the same rate at every step before that one, so a run of this schedule may start from a checkpoint of
        the trunk.
        """
        return None

    def to_dict(self) -> dict[str, Any]:
        """The schedule as JSON-able data: its name, its arguments and the version of the format.

        Raises:
            ScheduleError: if an argument is a tracer or an array of more than one number.
        """
        arguments = {name: concrete(self, name) for name in field_names(type(self))}
        return {"name": type(self).__name__, **arguments, "version": VERSION}


def is_static(field: dataclasses.Field[Any]) -> bool:
    """Whether a field is part of the tree's structure: those annotated ``str`` are."""
    return field.type in (str, "str")


@functools.cache
def field_names(cls: type[Schedule]) -> tuple[str, ...]:
    """The names of a schedule's arguments."""
    return tuple(field.name for field in dataclasses.fields(cls))


@functools.cache
def static_names(cls: type[Schedule]) -> tuple[str, ...]:
    """The names of the arguments that are no leaves."""
    return tuple(field.name for field in dataclasses.fields(cls) if is_static(field))


def check_names(cls: type[Schedule], names: Iterable[str]) -> None:
    """Checks that every name is an argument of `cls`.

    Raises:
        ScheduleError: for the first that is not, with the name nearest to it.
    """
    known = field_names(cls)
    for name in names:
        if name not in known:
            fail(cls.__name__, "argument", one_of(known, name), name)


def concrete(schedule: Schedule, name: str) -> Any:
    """A field as plain Python data; zero-dimensional arrays become numbers, tuples lists, schedules dictionaries.

    Raises:
        ScheduleError: for a tracer and for an array of more than one number.
    """
    value = getattr(schedule, name)
    if isinstance(value, Schedule):
        return value.to_dict()
    if name in type(schedule).tables and is_array(value) and not isinstance(value, Tracer) and value.ndim == 1:
        return np.asarray(value).tolist()
    if isinstance(value, tuple):
        owner = type(schedule).__name__
        return [e.to_dict() if isinstance(e, Schedule) else _plain(owner, name, e) for e in value]
    return _plain(type(schedule).__name__, name, value)


def _plain(owner: str, name: str, value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    if not is_array(value):
        return value
    if isinstance(value, Tracer) or value.ndim:
        fail(owner, name, "a concrete number", value)
    return value.item()


@functools.partial(jax.jit, inline=True)
def _rate(schedule: Schedule, step: jax.Array) -> jax.Array:
    settled = jax.tree.map(canonical, schedule).settled()
    # The barrier hides constants from the compiler, which would reorder products of them and fold functions of them,
    # and so round differently: a schedule closed over by a program and the same one passed to it as data then give the
    # same bits. Integers are exact either way, and left open: a constant fraction of the steps costs nothing.
    return real(jax.tree.map(_opaque, settled).rate(step))


def _opaque(leaf: jax.Array) -> jax.Array:
    return leaf if jnp.issubdtype(leaf.dtype, np.integer) else lax.optimization_barrier(leaf)
