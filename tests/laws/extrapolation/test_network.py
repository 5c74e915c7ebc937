import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lrstudy.laws.extrapolation.network import CurveTransformer
from tests.laws.extrapolation.tiny import curves

BORDERS = jnp.linspace(-0.2, 1.2, 31)


def assert_close(found, expected):
    """The same sums in another order: of up to a hundred terms of the logits' own size, in double precision.

    The narrowest normal density, of scale 2e-3, multiplies an error of its centre by that to the power of -2.
    """
    scale = float(np.abs(expected).max())
    np.testing.assert_allclose(found, expected, rtol=0, atol=100 * np.finfo(np.float64).eps * 2.5e5 * scale)


@pytest.fixture(scope="module")
def network():
    net = CurveTransformer(16, 2, 2)
    values = jnp.asarray(curves(0, 4))
    cutoffs = jnp.array([[1, 7, 40, 40, 98]] * 4)
    times = jnp.array([[2, 50, 41, 100, 99]] * 4)
    # No initial zeros, behind which an error could hide.
    shapes, tree = jax.tree.flatten(jax.eval_shape(net.init, jax.random.key(1), BORDERS, values, cutoffs, times))
    rng = np.random.default_rng(2)
    params = jax.tree.unflatten(tree, [rng.normal(0, 0.5, shape.shape) for shape in shapes])
    jitted, borders = jax.jit(net.apply), np.asarray(BORDERS, np.float64)

    def apply(values, *given):
        with jax.enable_x64(True):
            return np.asarray(jitted(params, borders, np.asarray(values, np.float64), *map(np.asarray, given)))

    return apply, values, cutoffs, times


def test_a_query_sees_its_context_alone(network):
    apply, values, cutoffs, times = network
    logits = apply(values, cutoffs, times)
    later = values.at[:, 40:].add(0.3)
    np.testing.assert_array_equal(apply(later, cutoffs, times)[:, :4], logits[:, :4])
    changed = apply(values.at[:, 39].add(0.3), cutoffs, times)
    np.testing.assert_array_equal(changed[:, :2], logits[:, :2])
    assert (np.abs(changed[:, 2:] - logits[:, 2:]).max((0, 2)) > 1e-3).all()


def test_queries_do_not_see_each_other(network):
    apply, values, cutoffs, times = network
    logits = apply(values, cutoffs, times)
    other = apply(values, cutoffs[:, ::-1], times[:, ::-1])
    assert_close(other[:, ::-1], logits)
    others = jnp.array([0, 1, 3, 4])
    alone = apply(values, cutoffs.at[:, others].set(3), times.at[:, others].set(60))
    assert_close(alone[:, 2], logits[:, 2])


def test_one_pass_is_a_pass_for_each_cutoff(network):
    """The points after the cut-off may as well not be there: a shorter curve gives the same logits."""
    apply, values, cutoffs, times = network
    short = apply(values[:, :40], cutoffs, times)
    assert_close(short[:, 2:4], apply(values, cutoffs, times)[:, 2:4])


def test_the_time_asked_for_matters(network):
    apply, values, cutoffs, times = network
    logits = apply(values, cutoffs, times)
    assert float(np.abs(apply(values, cutoffs, times - 1) - logits).max()) > 1e-2
