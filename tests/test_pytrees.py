import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lrstudy import pytrees


@dataclasses.dataclass(frozen=True)
class Interval:
    low: float
    high: float
    closed: bool = True
    name: str = "interval"

    def __post_init__(self):
        # Refuses anything but numbers, as the library's own dataclasses do.
        if not self.low < self.high:
            raise ValueError("low must be below high")


pytrees.register(Interval, ("low", "high"))


def test_register_returns_the_class():
    @dataclasses.dataclass(frozen=True)
    class Point:
        x: float

    assert pytrees.register(Point, ("x",)) is Point


@pytest.mark.parametrize("leaves", [(object(), object()), (None, None), (2.0, 1.0), ("low", 3)])
def test_unflatten_bypasses_the_constructor(leaves):
    _, structure = jax.tree.flatten(Interval(0.0, 1.0, closed=False))
    rebuilt = jax.tree.unflatten(structure, leaves)
    assert type(rebuilt) is Interval
    assert (rebuilt.low, rebuilt.high) == leaves
    assert (rebuilt.closed, rebuilt.name) == (False, "interval")


def test_a_rebuilt_node_equals_the_original_and_is_still_frozen():
    node = Interval(0.0, 1.0, name="unit")
    rebuilt = jax.tree.map(lambda x: x, node)
    assert rebuilt == node
    with pytest.raises(dataclasses.FrozenInstanceError):
        rebuilt.low = 3.0


def test_leaves_come_in_the_order_given_and_static_fields_are_none_of_them():
    assert jax.tree.leaves(Interval(1.0, 2.0)) == [1.0, 2.0]


def test_key_paths_are_attribute_names():
    paths, _ = jax.tree_util.tree_flatten_with_path({"a": Interval(1.0, 2.0)})
    assert [jax.tree_util.keystr(path) for path, _ in paths] == ["['a'].low", "['a'].high"]


@pytest.mark.parametrize(("change", "same"), [({"low": 0.5}, True), ({"closed": False}, False), ({"name": "x"}, False)])
def test_static_fields_alone_distinguish_structures(change, same):
    node = Interval(0.0, 1.0)
    other = dataclasses.replace(node, **change)
    assert (jax.tree.structure(node) == jax.tree.structure(other)) is same


def test_a_changed_leaf_does_not_recompile_and_a_changed_static_field_does():
    traced = []

    @jax.jit
    def width(node):
        traced.append(node.name)
        return node.high - node.low if node.closed else node.low

    widths = [width(Interval(low, 3.0)) for low in (0.0, 1.0, 2.0)]
    np.testing.assert_array_equal(widths, [3, 2, 1])
    assert len(traced) == 1
    assert width(Interval(1.0, 3.0, closed=False)) == 1
    assert len(traced) == 2


def test_vmap_maps_leaves_and_returns_nodes():
    structure = jax.tree.structure(Interval(0.0, 1.0))
    nodes = jax.tree.unflatten(structure, (np.zeros(3), np.arange(1.0, 4.0)))
    doubled = jax.vmap(lambda node: jax.tree.map(lambda x: 2 * x, node))(nodes)
    assert isinstance(doubled, Interval)
    np.testing.assert_array_equal(doubled.high, [2, 4, 6])
    np.testing.assert_array_equal(jax.vmap(lambda node: node.high - node.low)(doubled), [2, 4, 6])


def test_the_gradient_of_a_node_is_a_node():
    gradient = jax.grad(lambda node: node.low * node.high)(Interval(2.0, 5.0))
    assert isinstance(gradient, Interval)
    assert (float(gradient.low), float(gradient.high)) == (5, 2)


def test_a_field_that_is_a_tuple_contributes_each_of_its_elements():
    @dataclasses.dataclass(frozen=True)
    class Spectrum:
        values: tuple[float, ...]

    pytrees.register(Spectrum, ("values",))
    node = Spectrum((1.0, 2.0))
    assert jax.tree.leaves(node) == [1, 2]
    stacked = jax.tree.map(lambda *x: jnp.stack(x), node, Spectrum((3.0, 4.0)))
    assert jax.vmap(lambda n: sum(n.values))(stacked).tolist() == [3, 7]


def test_no_leaves_at_all():
    @dataclasses.dataclass(frozen=True)
    class Name:
        name: str

    pytrees.register(Name, ())
    assert jax.tree.leaves(Name("a")) == []
    assert jax.tree.structure(Name("a")) != jax.tree.structure(Name("b"))
