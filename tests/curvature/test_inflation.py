import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lrstudy.curvature import Status, batch_inflation, hessian, slq_lr_momentum, top_eigs

N, D = 48, 10


def squares(params, batch):
    inputs, targets = batch
    return jnp.mean((inputs @ params["w"] - targets) ** 2) / 2


def data(seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(N, D)).astype(np.float32), rng.normal(size=N).astype(np.float32)


PARAMS = {"w": jnp.zeros(D)}
FULL = np.linalg.norm(data()[0], 2) ** 2 / N
"""Of a linear regression: the largest singular value squared over the examples."""


def test_it_is_the_largest_eigenvalue_of_each_batch():
    found = batch_inflation(squares, PARAMS, data(), [1, 6, 24, N], 5, jax.random.key(0))
    assert found.values.shape == found.statuses.shape == (4, 5)
    assert np.all(found.statuses == Status.CONVERGED)
    np.testing.assert_allclose(found.full, FULL, rtol=1e-5)
    np.testing.assert_allclose(found.values[3], FULL, rtol=1e-5)
    np.testing.assert_allclose(found.effective_sizes[:3], [1 / (1 - 1 / N), 6 / (1 - 6 / N), 48])
    assert found.effective_sizes[3] == np.inf
    # A batch of one has the squared length of its example for an eigenvalue, and no other.
    lengths = np.sum(data()[0] ** 2, axis=1)
    assert np.abs(found.values[0][:, None] - lengths).min(axis=1).max() < 1e-3
    assert len(set(found.values[1])) == 5
    # The largest eigenvalue is convex, and batches average to all data.
    assert np.all(found.values.mean(axis=1) > 0.999 * FULL)


def test_a_sizes_batches_do_not_depend_on_the_others():
    key = jax.random.key(1)
    both, one = (batch_inflation(squares, PARAMS, data(), sizes, 3, key) for sizes in ([4, 6], [6]))
    np.testing.assert_array_equal(both.values[1], one.values[0])
    other = batch_inflation(squares, PARAMS, data(), [6], 3, jax.random.key(2))
    assert not np.any(other.values == one.values)


def test_batches_of_a_partition_average_to_all_data():
    inputs, targets = data()
    vector = {"w": jax.random.normal(jax.random.key(0), (D,))}
    pieces = [(inputs[i::6], targets[i::6]) for i in range(6)]
    products = [hessian(squares, PARAMS, piece)(vector)["w"] for piece in pieces]
    np.testing.assert_allclose(
        np.mean(products, axis=0), hessian(squares, PARAMS, (inputs, targets))(vector)["w"], rtol=1e-5, atol=1e-5
    )
    tops = [top_eigs(hessian(squares, PARAMS, piece), jax.random.key(0)).values[0] for piece in pieces]
    assert np.mean(tops) >= FULL


def test_inflation_falls_with_the_effective_size():
    """Random pixels have no eigenvalue that stands out: their batches' bulk edge is (1 + (D / b)^0.5)^2, so that all
    that is asked is that the excess falls, to nothing at N."""
    found = batch_inflation(squares, PARAMS, data(), [3, 12, 36, 47, N], 20, jax.random.key(3))
    excess = found.values.mean(axis=1) - found.full
    assert np.all(np.diff(excess) < 0)
    assert abs(excess[-1]) < 1e-5 * found.full


def test_it_compiles_once_a_size():
    traced = []

    def loss(params, batch):
        traced.append(1)
        return squares(params, batch)

    batch_inflation(loss, PARAMS, data(), [4, 8], 3, jax.random.key(0))
    count = len(traced)
    batch_inflation(loss, {"w": jnp.ones(D)}, data(1), [8, 4], 3, jax.random.key(1))
    assert len(traced) == count


def test_losses_that_are_not_finite_give_nan():
    found = batch_inflation(
        squares, PARAMS, (np.full((N, D), np.nan, np.float32), data()[1]), [4], 2, jax.random.key(0)
    )
    assert np.isnan(found.values).all()
    assert np.isnan(found.full)
    assert np.all(found.statuses == Status.NON_FINITE)


def test_bad_arguments_are_refused():
    key = jax.random.key(0)
    for sizes in ([0, 4], [N + 1], [-1]):
        with pytest.raises(ValueError, match=rf"sizes must be in \[1, N\], N being the {N} examples"):
            batch_inflation(squares, PARAMS, data(), sizes, 2, key)
    for sizes in ([], [2.5], [[2]]):
        with pytest.raises(ValueError, match="sizes must be a sequence of at least one whole number"):
            batch_inflation(squares, PARAMS, data(), sizes, 2, key)
    with pytest.raises(ValueError, match="draws must be at least 1, got 0"):
        batch_inflation(squares, PARAMS, data(), [4], 0, key)
    with pytest.raises(ValueError, match="batch must hold at least one example"):
        batch_inflation(squares, PARAMS, (np.zeros((0, D), np.float32), np.zeros(0, np.float32)), [1], 2, key)
    with pytest.raises(ValueError, match="one leading axis of examples"):
        batch_inflation(squares, PARAMS, (data()[0], data()[1][:5]), [1], 2, key)


# -- the heavy ball ----------------------------------------------------------------------------------------------------


def slowest(rate, momentum, eigenvalues):
    """The factor a step by which heavy-ball descent shrinks the slowest part of a quadratic."""
    steps = [np.asarray([[1 + momentum - rate * h, -momentum], [1, 0]]) for h in eigenvalues]
    return max(np.abs(np.linalg.eigvals(step)).max() for step in steps)


@pytest.mark.parametrize("ends", [(1.0, 0.01), (100.0, 1.0), (5.0, 4.0)])
def test_no_other_rate_and_momentum_converge_faster(ends):
    largest, smallest = ends
    rate, momentum = map(float, slq_lr_momentum(largest, smallest))
    eigenvalues = np.geomspace(smallest, largest, 15)
    best = slowest(rate, momentum, eigenvalues)
    # Both ends are double roots, which rounding parts by its own square root.
    np.testing.assert_allclose(best, np.sqrt(momentum), rtol=2e-3)
    for other_rate in rate * np.geomspace(0.5, 2, 21):
        for other in np.linspace(0, 0.99, 34):
            assert slowest(other_rate, other, eigenvalues) > best - 2e-3


def test_descent_on_a_quadratic_shrinks_as_fast_as_said():
    eigenvalues = np.geomspace(0.02, 3.0, 8)
    rate, momentum = map(float, slq_lr_momentum(3.0, 0.02))
    x, m = np.ones(8), np.zeros(8)
    for _ in range(200):
        m = momentum * m + eigenvalues * x
        x = x - rate * m
    # A double root's error is (1 + c t) times the root's power.
    assert np.log(np.abs(x).max()) / 200 == pytest.approx(np.log(momentum) / 2, rel=0.2)


def test_ends_that_are_no_spectrum_are_refused():
    for largest, smallest in ((1.0, 2.0), (1.0, 0.0), (-1.0, -2.0), (np.nan, 1.0), (np.inf, 1.0), (1.0, np.nan)):
        with pytest.raises(ValueError, match=r"smallest must be in \(0, largest\]"):
            slq_lr_momentum(largest, smallest)
    rate, momentum = slq_lr_momentum(2.0, 2.0)
    assert (float(rate), float(momentum)) == (pytest.approx(0.5), pytest.approx(0))
    traced = jax.jit(slq_lr_momentum)(4.0, 1.0)
    np.testing.assert_allclose(traced, [(2 / 3) ** 2, 1 / 9], rtol=1e-6)
