import functools
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lrstudy import curvature
from lrstudy.curvature import Operator, hessian, trace

METHODS = ("xtrace", "hutch++", "hutchinson")
N = 60


def symmetric(eigenvalues, seed=0):
    """A symmetric matrix with these eigenvalues and random eigenvectors."""
    n = len(eigenvalues)
    basis = np.linalg.qr(np.random.default_rng(seed).normal(size=(n, n)))[0]
    return jnp.asarray(basis * np.asarray(eigenvalues) @ basis.T, jnp.float32)


def times(matrix, v):
    flat = matrix @ jnp.concatenate([v["a"].ravel(), v["b"]])
    return {"a": flat[:6].reshape(2, 3), "b": flat[6:]}


def operator(matrix):
    """The matrix on a tree of two leaves."""
    n = matrix.shape[0]
    return Operator(jax.tree_util.Partial(times, matrix), {"a": jnp.zeros((2, 3)), "b": jnp.zeros(n - 6)})


@functools.partial(jax.jit, static_argnames=("method", "matvecs"))
def each(one, keys, method, matvecs):
    return jax.lax.map(lambda key: trace(one, key, method=method, matvecs=matvecs), keys)


def estimates(one, method, matvecs=18, seeds=200):
    return jax.tree.map(np.asarray, each(one, jax.random.split(jax.random.key(7), seeds), method, matvecs))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("spectrum", ["flat", "decaying", "indefinite"])
def test_estimates_are_unbiased_and_their_standard_errors_are_true(method, spectrum):
    eigenvalues = {
        "flat": np.linspace(1, 3, N),
        "decaying": 1 / np.arange(1, N + 1) ** 1.0,
        "indefinite": np.where(np.arange(N) % 2, -0.5, 1.0) / np.arange(1, N + 1),
    }[spectrum]
    found = estimates(operator(symmetric(eigenvalues)), method)
    error = found.estimate - eigenvalues.sum()
    spread = error.std(ddof=1)
    # Four standard errors of a mean of 200.
    assert abs(error.mean()) < 4 * spread / np.sqrt(200)
    # A deviation from 200 samples is good to 5% alone; XTrace's samples share their sketch, so their spread is not
    # quite that of independent ones.
    told = np.sqrt(np.mean(found.standard_error**2))
    assert 0.7 < told / spread < 1.4


def test_signs_are_exact_on_a_diagonal():
    eigenvalues = np.random.default_rng(1).normal(size=N)
    found = trace(operator(jnp.diag(jnp.asarray(eigenvalues, jnp.float32))), jax.random.key(0), method="hutchinson")
    np.testing.assert_allclose(found.estimate, eigenvalues.sum(), rtol=1e-5)
    assert found.standard_error < 1e-5


def test_hutchinsons_variance_is_twice_the_squares_off_the_diagonal():
    matrix = symmetric(np.random.default_rng(2).normal(size=N))
    found = estimates(operator(matrix), "hutchinson", seeds=2000)
    off = np.asarray(matrix) - np.diag(np.diag(matrix))
    # The variance of 2000 samples is known to sqrt(2 / 2000) = 3%.
    np.testing.assert_allclose(found.estimate.var(ddof=1), 2 * (off**2).sum() / 18, rtol=0.12)


@pytest.mark.parametrize("scale", [1e-9, 1e-4, 1.0, 1e4])
@pytest.mark.parametrize("rank", [0, 1, 2, 7, 8])
def test_xtrace_is_exact_below_half_of_the_products_in_rank(rank, scale):
    eigenvalues = scale * np.where(np.arange(N) < rank, 1.0 + np.arange(N), 0)
    matrix = scale * symmetric(eigenvalues / scale)
    found = estimates(operator(matrix), "xtrace")
    # Rounding in float32, of a sum of products of the size of the largest eigenvalue.
    np.testing.assert_allclose(found.estimate, eigenvalues.sum(), rtol=3e-5, atol=1e-30)
    assert np.all(found.standard_error <= 3e-5 * eigenvalues.sum() + 1e-30)


def test_xtrace_is_what_its_definition_says():
    """Each test vector in turn, on what the images of the others leave over, in float64 (section 2 of the paper)."""
    matrix = symmetric(1 / np.arange(1, N + 1))
    exact, rank, key = np.asarray(matrix, np.float64), 9, jax.random.key(11)
    tests = np.asarray(jax.random.normal(key, (rank, N)), np.float64)
    samples = []
    for place, test in enumerate(tests):
        basis = np.linalg.qr(exact @ np.delete(tests, place, axis=0).T)[0]
        rest = test - basis @ (basis.T @ test)
        scale = (N - rank + 1) / (rest @ rest)
        samples.append(np.trace(basis.T @ exact @ basis) + scale * (rest @ exact @ rest))
    found = trace(operator(matrix), key, method="xtrace", matvecs=2 * rank)
    # Sums of N products of float32 numbers of size one.
    np.testing.assert_allclose(found.estimate, np.mean(samples), rtol=1e-5)
    np.testing.assert_allclose(found.standard_error, np.std(samples, ddof=1) / 3, rtol=1e-4)


def test_hutch_plus_plus_is_exact_up_to_a_third_of_the_products_in_rank():
    eigenvalues = np.where(np.arange(N) < 6, 1.0 + np.arange(N), 0)
    found = estimates(operator(symmetric(eigenvalues)), "hutch++")
    np.testing.assert_allclose(found.estimate, eigenvalues.sum(), rtol=3e-5)


@pytest.mark.parametrize("method", METHODS)
def test_scale_changes_nothing_else(method):
    matrix = symmetric(1 / np.arange(1, N + 1))
    small, large = (trace(operator(s * matrix), jax.random.key(3), method=method) for s in (2.0**-30, 1.0))
    np.testing.assert_allclose(small.estimate * 2.0**30, large.estimate, rtol=1e-5)
    np.testing.assert_allclose(small.standard_error * 2.0**30, large.standard_error, rtol=1e-3)


@pytest.mark.parametrize(("method", "n"), [("xtrace", 7), ("hutch++", 12), ("hutchinson", 30)])
def test_with_as_many_products_as_rows_it_is_exact(method, n):
    matrix = symmetric(np.random.default_rng(4).normal(size=n))
    found = trace(operator(matrix), jax.random.key(0), method=method, matvecs=30)
    np.testing.assert_allclose(found.estimate, np.trace(matrix), rtol=1e-5, atol=1e-6)
    assert found.standard_error == 0


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("n", "matvecs"), [(N, 31), (8, 8)])
def test_it_makes_no_more_products_than_asked_for(method, n, matvecs):
    calls = []

    def counted(v):
        jax.debug.callback(lambda: calls.append(1))
        return jax.tree.map(lambda x: 2 * x, v)

    example = jnp.zeros(n)
    jax.block_until_ready(trace(Operator(counted, example), jax.random.key(0), method=method, matvecs=matvecs))
    jax.effects_barrier()
    expected = n if matvecs >= n else matvecs - matvecs % 2 if method == "xtrace" else matvecs
    assert len(calls) == expected


def test_without_a_method_large_operators_keep_no_vectors(monkeypatch):
    one = operator(symmetric(1 / np.arange(1, N + 1)))
    key = jax.random.key(0)
    assert trace(one, key) == trace(one, key, method="xtrace")
    monkeypatch.setattr(sys.modules["lrstudy.curvature.trace"], "SKETCH_BYTES", 4 * N * 30 - 1)
    assert trace(one, key) == trace(one, key, method="hutchinson")


def test_a_product_that_is_not_finite_makes_nan():
    for method in METHODS:
        one = operator(jnp.full((N, N), jnp.nan))
        found = [trace(one, jax.random.key(0), method=method, matvecs=matvecs) for matvecs in (30, N)]
        assert np.all(np.isnan(found))


def test_bad_arguments_are_refused():
    one, key = operator(symmetric(np.ones(N))), jax.random.key(0)
    with pytest.raises(ValueError, match=r"method must be one of \['xtrace', 'hutch\+\+', 'hutchinson'\], got 'exact'"):
        trace(one, key, method="exact")
    for method, fewest in (("xtrace", 4), ("hutch++", 6), ("hutchinson", 2)):
        with pytest.raises(ValueError, match=f"matvecs must be at least {fewest} for"):
            trace(one, key, method=method, matvecs=fewest - 1)
    assert np.isfinite(trace(one, key, method="xtrace", matvecs=4).standard_error)


def test_an_old_key_and_a_lower_precision_serve():
    found = trace(operator(symmetric(np.ones(N))), jax.random.PRNGKey(0))
    np.testing.assert_allclose(found.estimate, N, rtol=1e-5)
    half = Operator(lambda v: 2 * v, jnp.zeros(40, jnp.bfloat16))
    np.testing.assert_allclose(trace(half, jax.random.key(0)).estimate, 80, rtol=0.02)


# -- a network of 5,569 parameters -------------------------------------------------------------------------------------


def half_square(params, batch):
    inputs, targets = batch
    hidden = inputs
    for weights, bias in params[:-1]:
        hidden = jnp.tanh(hidden @ weights + bias)
    weights, bias = params[-1]
    return jnp.mean((hidden @ weights + bias - targets)[:, 0] ** 2) / 2


@functools.cache
def trained_network():
    """A perceptron of widths 20, 64, 64, 1 after 300 steps of gradient descent on 64 examples, and its batch."""
    keys = jax.random.split(jax.random.key(0), 5)
    sizes = [(20, 64), (64, 64), (64, 1)]
    params = [
        (jax.random.normal(key, size) / np.sqrt(size[0]), jnp.zeros(size[1]))
        for key, size in zip(keys, sizes, strict=False)
    ]
    inputs = jax.random.normal(keys[3], (64, 20))
    batch = (inputs, jnp.sin(inputs @ jax.random.normal(keys[4], (20, 1))))

    def descend(params, _):
        return jax.tree.map(lambda p, g: p - 0.3 * g, params, jax.grad(half_square)(params, batch)), None

    return jax.jit(lambda p: jax.lax.scan(descend, p, None, 300)[0])(params), batch


def test_xtrace_is_ahead_of_hutchinson_on_a_network():
    params, batch = trained_network()
    one = hessian(half_square, params, batch)
    assert one.n == 5569
    flat, back = jax.flatten_util.ravel_pytree(params)
    matrix = np.asarray(jax.jit(jax.hessian(lambda w: half_square(back(w), batch)))(flat), np.float64)
    exact, off = np.trace(matrix), matrix - np.diag(np.diag(matrix))
    errors = {}
    for method in METHODS:
        found = jax.jit(lambda keys, method=method: jax.lax.map(lambda k: trace(one, k, method=method).estimate, keys))
        errors[method] = np.asarray(found(jax.random.split(jax.random.key(1), 40))) / exact - 1
    root = {method: np.sqrt(np.mean(own**2)) for method, own in errors.items()}
    print(f"\ntrace {exact:.4f}; RMS relative error of 30 products, 40 keys:", {k: f"{v:.2%}" for k, v in root.items()})
    # The project's aim of 3% is not reached on this network, 15 of whose eigenvalues hold four fifths of the trace:
    # matfree 0.6.3's XTrace has the same 4.1% here (over 200 keys; both are the definition above).
    assert root["xtrace"] < root["hutchinson"] / 1.3
    # The root mean square of 40 samples is good to 11%.
    np.testing.assert_allclose(root["hutchinson"], np.sqrt(2 * (off**2).sum() / 30) / exact, rtol=0.4)
    assert curvature.trace is trace
