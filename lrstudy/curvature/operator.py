"""A symmetric linear operator on pytrees, known by its products with vectors alone."""

import abc
import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lrstudy.curvature.vectors import Vector, check_differentiable, size

Matvec = Callable[[Vector], Vector]


class Product(abc.ABC):
    """What an operator does, apart from the arrays it does it with.

    Subclasses are frozen dataclasses without arrays, so that they are equal where they mean the same: an operator made
    anew from other parameters then finds the compiled program of the one before.
    """

    @abc.abstractmethod
    def __call__(self, arrays: Any, vector: Vector) -> Vector:
        """One product, made anew from the operator's arrays."""

    @abc.abstractmethod
    def prepared(self, arrays: Any) -> Matvec:
        """The products of these arrays with any vector, which share whatever does not depend on the vector.

        To be called where the products are, inside one compiled function.
        """


@jax.tree_util.register_pytree_node_class
@dataclasses.dataclass(frozen=True)
class Operator:
    """A symmetric linear operator; it is a pytree, so it may cross ``jit``, ``vmap`` and ``shard_map``.

    Attributes:
        matvec: vector to product.
        example: a pytree like the vectors; only its shapes and types count.

    Raises:
        ValueError: the example holds no numbers, or some that are not floating-point.
    """

    matvec: Matvec
    example: Any

    def __post_init__(self) -> None:
        """Checks the example, and makes any function a pytree."""
        check_differentiable("example", self.example)
        if not isinstance(self.matvec, jax.tree_util.Partial):
            object.__setattr__(self, "matvec", jax.tree_util.Partial(self.matvec))

    def __call__(self, vector: Vector) -> Vector:
        """The product with a vector."""
        return self.matvec(vector)

    @property
    def n(self) -> int:
        """Length of a vector."""
        return size(self.example)

    def prepared(self) -> Matvec:
        """The products, sharing what does not depend on the vector; see ``Product.prepared``."""
        partial: Any = self.matvec
        return partial.func.prepared(*partial.args) if isinstance(partial.func, Product) else partial

    def tree_flatten(self) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        """Leaves are what the product closes over; the example travels as shapes."""
        leaves, structure = jax.tree.flatten(self.example)
        shapes = tuple((np.shape(leaf), jnp.result_type(leaf)) for leaf in leaves)
        return (self.matvec,), (structure, shapes)

    @classmethod
    def tree_unflatten(cls, aux: tuple[Any, ...], children: tuple[Any, ...]) -> "Operator":
        """Rebuilt without the checks, which would fail on a tree of placeholders."""
        structure, shapes = aux
        operator = object.__new__(cls)
        object.__setattr__(operator, "matvec", children[0])
        example = structure.unflatten([jax.ShapeDtypeStruct(shape, kind) for shape, kind in shapes])
        object.__setattr__(operator, "example", example)
        return operator


def make(product: Product, *arrays: Any, example: Any) -> Operator:
    """The operator of a product with its arrays."""
    return Operator(jax.tree_util.Partial(product, arrays), example)


@dataclasses.dataclass(frozen=True)
class _Shifted(Product):
    def __call__(self, arrays: Any, vector: Vector) -> Vector:
        operator, shift = arrays
        return self._apply(operator.matvec, shift, vector)

    def prepared(self, arrays: Any) -> Matvec:
        operator, shift = arrays
        matvec = operator.prepared()
        return lambda vector: self._apply(matvec, shift, vector)

    def _apply(self, matvec: Matvec, shift: Any, vector: Vector) -> Vector:
        return jax.tree.map(lambda a, v: a + jnp.asarray(shift, v.dtype) * v, matvec(vector), vector)


def shift(operator: Operator, amount: Any) -> Operator:
    """``A + amount * I``; a decay of the weights in the loss, for instance.

    Args:
        operator: A.
        amount: a number, may be traced.
    """
    return make(_Shifted(), operator, amount, example=operator.example)


@dataclasses.dataclass(frozen=True)
class _Masked(Product):
    def __call__(self, arrays: Any, vector: Vector) -> Vector:
        operator, mask = arrays
        return self._apply(operator.matvec, mask, vector)

    def prepared(self, arrays: Any) -> Matvec:
        operator, mask = arrays
        matvec = operator.prepared()
        return lambda vector: self._apply(matvec, mask, vector)

    def _apply(self, matvec: Matvec, mask: Any, vector: Vector) -> Vector:
        def only(tree: Any) -> Any:
            return jax.tree.map(lambda x, m: jnp.where(m, x, jnp.zeros_like(x)), tree, mask)

        return only(matvec(only(vector)))


def subtree(operator: Operator, mask: Any) -> Operator:
    """The block of an operator that belongs to some of the parameters; zero elsewhere.

    Args:
        operator: A.
        mask: a tree like the vectors, or a prefix of it, of booleans: what is kept.

    Raises:
        ValueError: the mask does not fit the vectors, or keeps nothing.
    """
    try:
        full = jax.tree_util.tree_broadcast(mask, operator.example)
    except ValueError as error:
        raise ValueError(f"mask must be a tree like the vectors or a prefix of one, got {mask!r}") from error
    kept = jax.tree.map(lambda m, x: np.broadcast_to(np.asarray(m, bool), np.shape(x)), full, operator.example)
    if not any(np.any(leaf) for leaf in jax.tree.leaves(kept)):
        raise ValueError("mask must keep at least one number, got none")
    return make(_Masked(), operator, full, example=operator.example)


@dataclasses.dataclass(frozen=True)
class _Combined(Product):
    def __call__(self, arrays: Any, vector: Vector) -> Vector:
        operators, weights = arrays
        return self._apply([one.matvec for one in operators], weights, vector)

    def prepared(self, arrays: Any) -> Matvec:
        operators, weights = arrays
        matvecs = [one.prepared() for one in operators]
        return lambda vector: self._apply(matvecs, weights, vector)

    def _apply(self, matvecs: Sequence[Matvec], weights: Sequence[Any], vector: Vector) -> Vector:
        products = [matvec(vector) for matvec in matvecs]
        return jax.tree.map(
            lambda *leaves: sum(jnp.asarray(w, x.dtype) * x for w, x in zip(weights, leaves, strict=True)), *products
        )


def total(operators: Sequence[Operator], weights: Sequence[Any] | None = None) -> Operator:
    """The weighted sum of operators on the same vectors.

    Args:
        operators: at least one.
        weights: one number an operator; ``None``: all one.

    Raises:
        ValueError: no operators, another number of weights, or operators on different vectors.
    """
    if not operators:
        raise ValueError("operators must hold at least one operator, got none")
    weights = [1.0] * len(operators) if weights is None else list(weights)
    if len(weights) != len(operators):
        raise ValueError(f"weights must have one number an operator ({len(operators)}), got {len(weights)}")
    signatures = {one.tree_flatten()[1] for one in operators}
    if len(signatures) > 1:
        raise ValueError(f"operators must act on the same vectors, got {len(signatures)} different ones")
    return make(_Combined(), tuple(operators), tuple(weights), example=operators[0].example)


def mean(operators: Sequence[Operator], examples: Sequence[float] | None = None) -> Operator:
    """The mean of operators, weighted by how many examples each is of.

    The Hessian of a data set is this mean of its batches' Hessians; the plain mean would count the examples of a short
    last batch too much.

    Args:
        operators: at least one.
        examples: how many each is of; ``None``: equally many.

    Raises:
        ValueError: as ``total``, or counts that are not positive.
    """
    counts = np.ones(len(operators)) if examples is None else np.asarray(examples, float)
    if counts.size and not (np.all(np.isfinite(counts)) and np.all(counts > 0)):
        raise ValueError(f"examples must be positive numbers, got {examples!r}")
    return total(operators, [float(count) for count in counts / counts.sum()] if counts.size else [])


@dataclasses.dataclass(frozen=True)
class _Averaged(Product):
    axis_name: Any

    def __call__(self, arrays: Any, vector: Vector) -> Vector:
        (operator,) = _of_device(arrays, self.axis_name)
        return jax.lax.pmean(operator.matvec(_of_device(vector, self.axis_name)), self.axis_name)

    def prepared(self, arrays: Any) -> Matvec:
        (operator,) = _of_device(arrays, self.axis_name)
        matvec = operator.prepared()
        return lambda vector: jax.lax.pmean(matvec(_of_device(vector, self.axis_name)), self.axis_name)


def _of_device(tree: Any, axis_name: Any) -> Any:
    """The arrays as every device's own.

    ``shard_map`` knows what all devices hold alike, and sums a gradient with respect to it over them. Where that is not
    tracked, under ``pmap`` and with ``check_vma=False``, nothing is summed and nothing is done.
    """
    names = axis_name if isinstance(axis_name, tuple) else (axis_name,)
    tracked = [name for name in names if name in _varying(jax.lax.axis_index(name))]

    def own(leaf: Any) -> Any:
        alike = tuple(name for name in tracked if name not in _varying(leaf))
        return jax.lax.pcast(leaf, alike, to="varying") if alike else leaf

    return jax.tree.map(own, tree)


def _varying(array: Any) -> Any:
    """Names of the mapped axes along which the devices' values are known to differ."""
    kind: Any = jax.typeof(array)
    return kind.manual_axis_type.varying if hasattr(kind, "manual_axis_type") else kind.vma


def pmean(operator: Operator, axis_name: Any) -> Operator:
    """The mean over devices of operators on equal shares of the data, under ``pmap`` or ``shard_map``.

    Every device must hold the same vector, so a solver on every device takes the same turns.

    Args:
        operator: of this device's share.
        axis_name: of the mapped axis.
    """
    return make(_Averaged(axis_name), operator, example=operator.example)
