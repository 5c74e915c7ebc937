"""Gradients with respect to every number, also where an unselected branch has none."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lrstudy.schedules import WSD, WSDS, Cosine

from .cases import ALL, SINGLE, boundaries, highest, last_step
from .reference import rates

SAMPLES = 64


def as_floats(schedule):
    return jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.result_type(float)), schedule)


def with_gradient(schedule, steps):
    """The rate at every step and its derivative with respect to every leaf, which must be a float."""
    return jax.vmap(jax.value_and_grad(lambda s, t: s(t)), in_axes=(None, 0))(schedule, steps)


def by_path(gradients) -> dict[str, np.ndarray]:
    return {jax.tree_util.keystr(path): np.asarray(leaf) for path, leaf in jax.tree.leaves_with_path(gradients)}


def leaf_gradients(schedule, steps) -> dict[str, np.ndarray]:
    """d rate / d leaf by the leaf's key path; numbers of steps count as floats."""
    return by_path(jax.jit(with_gradient)(as_floats(schedule), jnp.asarray(steps))[1])


@pytest.fixture(scope="module")
def sampled():
    """Steps, rates and gradients of every case, from one program: compiling is what takes the time."""
    schedules = {name: as_floats(schedule) for name, schedule in ALL.items()}
    steps = {}
    for name, schedule in ALL.items():
        joints = boundaries(schedule)
        between = np.linspace(0, last_step(schedule), SAMPLES - len(joints)).astype(int)
        steps[name] = jnp.asarray([*joints, *between])
    found = jax.jit(lambda s, t: {name: with_gradient(s[name], t[name]) for name in s})(schedules, steps)
    return {name: (np.asarray(steps[name]), *found[name]) for name in ALL}


@pytest.mark.parametrize("name", ALL)
def test_float_numbers_of_steps_give_the_same_rates(name, sampled):
    steps, values, _ = sampled[name]
    np.testing.assert_allclose(values, rates(ALL[name], steps), rtol=0, atol=2e-7 * highest(ALL[name]))


@pytest.mark.parametrize("name", ALL)
def test_gradients_are_finite_at_every_joint(name, sampled):
    gradients = by_path(sampled[name][2])
    assert gradients.keys() == by_path(ALL[name]).keys()
    for path, gradient in gradients.items():
        assert np.isfinite(gradient).all(), path


@pytest.mark.parametrize("shape", ["1-sqrt", "polynomial", "inverse"])
def test_gradients_are_the_slopes(shape):
    schedule = WSD(1.0, 100, warmup_steps=10, decay_steps=40, shape=shape, end=0.05, power=2.5, d=0.3)
    steps, h = jnp.array([5, 65, 71, 90, 97]), 1e-5
    with jax.enable_x64(True):
        floats = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float64), schedule)
        gradients = leaf_gradients(schedule, steps)
        leaves, structure = jax.tree.flatten(floats)
        for i, (path, gradient) in enumerate(gradients.items()):
            moved = [structure.unflatten([*leaves[:i], leaves[i] + side, *leaves[i + 1 :]]) for side in (h, -h)]
            slope = np.asarray(moved[0](steps) - moved[1](steps)) / (2 * h)
            np.testing.assert_allclose(gradient, slope, rtol=1e-5, atol=1e-8, err_msg=path)


def test_before_and_after_the_decay_only_the_held_rate_matters():
    gradients = leaf_gradients(SINGLE["WSD-fraction"], [100, 171, 200, 300])
    np.testing.assert_array_equal(gradients[".peak"], [1, 1, 0, 0])
    np.testing.assert_array_equal(gradients[".end"], [0, 0, 1, 1])


def test_a_fraction_is_rounded_and_has_gradient_zero():
    gradients = leaf_gradients(WSD(1.0, 100, decay_fraction=0.3, shape="linear"), [70, 80, 99])
    np.testing.assert_array_equal(gradients[".decay_fraction"], 0)


def test_degenerate_traced_phases_stay_finite():
    # Values of traced fields are not checked: no room for the decay, a warmup of nothing.
    empty = WSD(jnp.float32(1), jnp.float32(10), warmup_steps=jnp.float32(0), decay_steps=jnp.float32(0))
    for path, gradient in leaf_gradients(empty, [0, 5, 9, 10, 11]).items():
        assert np.isfinite(gradient).all(), path


def test_small_powers_at_the_very_end():
    for schedule in (
        Cosine(1.0, 2**24, exponent=0.1),
        WSD(1.0, 2**24, decay_steps=2**24, shape="polynomial", power=0.1),
        WSDS(1.0, [2**24], decay_lengths=[2**24 - 1], shape="polynomial", power=0.1, end=0),
    ):
        for path, gradient in leaf_gradients(schedule, [0, 1, 2, 2**23, 2**24 - 1, 2**24]).items():
            assert np.isfinite(gradient).all(), path
