"""Products with operators, against matrices that are known or formed entry by entry."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lrstudy.curvature import empirical_fisher, ggn, hessian, mean, ntk, preconditioned, shift, subtree, top_eigs, total
from lrstudy.curvature.vectors import flatten, random_like, unflattener
from tests.curvature.problems import (
    KEY,
    dense,
    dense_hessian,
    linear_regression,
    logistic,
    matrix_operator,
    network,
    network_loss,
    network_params,
    quadratic,
    regression_data,
    rotated,
    scalar_chain,
    softmax,
    squares,
)

PARAMS, BATCH = network_params(), regression_data()
TRUTH = dense_hessian(network_loss, PARAMS, BATCH)
# float32 sums over 30 examples and 24 parameters.
CLOSE = {"rtol": 1e-4, "atol": 1e-6}
EXACT_MODES = ("linearize", "fwdrev", "revrev")


def relative(found, wanted):
    return np.linalg.norm(found - wanted) / np.linalg.norm(wanted)


@pytest.mark.parametrize("mode", EXACT_MODES)
@pytest.mark.parametrize("extra", [{}, {"remat": True, "microbatches": 8}])
def test_exact_modes_agree_with_the_dense_hessian(mode, extra):
    # 30 examples in 8 pieces: seven of 4 and one of 2.
    operator = hessian(network_loss, PARAMS, BATCH, mode=mode, **extra)
    assert relative(dense(operator), TRUTH) < 1e-5
    vector = random_like(KEY, PARAMS)
    assert relative(flatten(operator.prepared()(unflattener(PARAMS)(vector))), TRUTH @ vector) < 1e-5


def test_finite_differences_agree_to_a_thousandth():
    assert relative(dense(hessian(network_loss, PARAMS, BATCH, mode="fd")), TRUTH) < 1e-3


def test_a_loss_may_come_with_metrics():
    def with_metrics(params, batch):
        return network_loss(params, batch), {"anything": params["bias"]}

    assert relative(dense(hessian(with_metrics, PARAMS, BATCH)), TRUTH) < 1e-5


def test_a_shorter_last_piece_counts_by_its_examples():
    # 10 examples in 4 pieces of 3, 3, 3 and 1: a plain mean of pieces would count the last one 2.5 times.
    batch = tuple(x[:10] for x in BATCH)
    whole = dense(hessian(network_loss, PARAMS, batch))
    pieces = [hessian(network_loss, PARAMS, tuple(x[i : i + 3] for x in batch)) for i in range(0, 10, 3)]
    assert relative(dense(hessian(network_loss, PARAMS, batch, microbatches=4)), whole) < 1e-5
    assert relative(dense(mean(pieces, [3, 3, 3, 1])), whole) < 1e-5
    assert relative(dense(mean(pieces)), whole) > 1e-2


def test_the_mean_over_a_partition_is_the_full_hessian_and_its_sharpness_is_below_the_batches():
    parts = [hessian(network_loss, PARAMS, tuple(x[i : i + 6] for x in BATCH)) for i in range(0, 30, 6)]
    average = mean(parts)
    assert relative(dense(average), TRUTH) < 1e-6
    # The largest eigenvalue is convex (Jensen).
    largest = [float(top_eigs(part, KEY).values[0]) for part in parts]
    assert np.mean(largest) >= float(top_eigs(average, KEY).values[0])


def test_two_layer_scalar_network():
    operator = hessian(scalar_chain, {"a": jnp.float32(2), "b": jnp.float32(3)}, jnp.asarray([6.0])[0])
    np.testing.assert_allclose(dense(operator), [[9, 6], [6, 4]], rtol=1e-6)
    assert float(top_eigs(operator, KEY).values[0]) == pytest.approx(13, rel=1e-6)
    kernel = ntk(lambda p, x: p["a"] * p["b"] * x, {"a": jnp.float32(2), "b": jnp.float32(3)}, jnp.ones(1))
    np.testing.assert_allclose(dense(kernel), [[13]], rtol=1e-6)


def test_two_layer_scalar_network_at_zero():
    operator = hessian(scalar_chain, {"a": jnp.float32(0), "b": jnp.float32(0)}, jnp.float32(6))
    values = top_eigs(operator, KEY, k=2).values
    np.testing.assert_allclose(values, [6, -6], rtol=1e-6)


def test_linear_regression():
    inputs, targets = BATCH
    count, features = inputs.shape
    wanted = np.asarray(inputs.T @ inputs) / count
    for weights in (jnp.zeros(features), jnp.arange(features, dtype=jnp.float32)):
        np.testing.assert_allclose(dense(hessian(linear_regression, weights, BATCH)), wanted, **CLOSE)
        np.testing.assert_allclose(dense(ggn(lambda w, b: b[0] @ w, squares, weights, BATCH)), wanted, **CLOSE)
    kernel = ntk(lambda w, x: x @ w, jnp.zeros(features), inputs, scale=1 / count)
    np.testing.assert_allclose(dense(kernel), np.asarray(inputs @ inputs.T) / count, **CLOSE)
    largest = np.linalg.norm(inputs, 2) ** 2 / count
    sharpness = top_eigs(hessian(linear_regression, jnp.zeros(features), (inputs, targets)), KEY).values[0]
    assert float(sharpness) == pytest.approx(largest, rel=1e-5)
    assert float(top_eigs(kernel, KEY).values[0]) == pytest.approx(largest, rel=1e-5)
    assert np.trace(dense(kernel)) == pytest.approx(float(jnp.sum(inputs**2)) / count, rel=1e-5)


def test_logistic_regression_at_zero():
    inputs, targets = BATCH
    batch = inputs, jnp.sign(targets)
    wanted = np.asarray(inputs.T @ inputs) / (4 * len(inputs))
    np.testing.assert_allclose(dense(hessian(logistic, jnp.zeros(inputs.shape[1]), batch)), wanted, **CLOSE)


def softmax_output_loss(outputs, batch):
    return -jnp.mean(jnp.take_along_axis(jax.nn.log_softmax(outputs), batch[1][:, None], axis=1))


def test_softmax_regression_at_zero():
    inputs, classes = BATCH[0], 3
    count, features = inputs.shape
    batch = inputs, jnp.arange(count) % classes
    weights = jnp.zeros((features, classes))
    centre = np.eye(classes) / classes - 1 / classes**2
    wanted = np.kron(np.asarray(inputs.T @ inputs) / count, centre)
    np.testing.assert_allclose(dense(hessian(softmax, weights, batch)), wanted, **CLOSE)
    np.testing.assert_allclose(dense(ggn(lambda w, b: b[0] @ w, softmax_output_loss, weights, batch)), wanted, **CLOSE)
    largest = float(top_eigs(hessian(softmax, weights, batch), KEY).values[0])
    assert largest == pytest.approx(np.linalg.norm(inputs, 2) ** 2 / (classes * count), rel=1e-5)
    assert np.trace(wanted) == pytest.approx((classes - 1) / classes * float(jnp.sum(inputs**2)) / count, rel=1e-5)


def test_the_empirical_fisher_is_the_hessian_in_expectation_over_the_models_labels_only():
    inputs, classes = BATCH[0], 3
    weights = jnp.asarray(np.random.default_rng(3).normal(size=(inputs.shape[1], classes)), jnp.float32)
    chances = np.asarray(jax.nn.softmax(inputs @ weights))

    def losses(weights, batch):
        inputs, labels, weight = batch
        scores = jax.nn.log_softmax(inputs @ weights)
        # A gradient scaled by sqrt(p) has the second moment of a label of chance p.
        return -jnp.sqrt(weight) * jnp.take_along_axis(scores, labels[:, None], axis=1)[:, 0]

    def fisher(label):
        labels = jnp.full(len(inputs), label)
        return empirical_fisher(losses, weights, (inputs, labels, jnp.asarray(chances[:, label])))

    expected = dense(total([fisher(label) for label in range(classes)]))
    labels = jnp.arange(len(inputs)) % classes
    wanted = dense(hessian(softmax, weights, (inputs, labels)))
    np.testing.assert_allclose(expected, wanted, **CLOSE)
    at_labels = dense(empirical_fisher(losses, weights, (inputs, labels, jnp.ones(len(inputs)))))
    assert relative(at_labels, wanted) > 0.1


def test_gauss_newton_leaves_out_the_models_own_curvature_and_is_positive():
    operator = ggn(network, squares, PARAMS, BATCH)
    jacobian = np.concatenate(
        [np.asarray(x).reshape(30, -1) for x in jax.tree.leaves(jax.jacobian(network)(PARAMS, BATCH))], axis=1
    )
    matrix = dense(operator)
    np.testing.assert_allclose(matrix, jacobian.T @ jacobian / 30, **CLOSE)
    assert relative(matrix, TRUTH) > 1e-2
    assert relative(matrix, matrix.T) < 1e-6
    for seed in range(20):
        vector = random_like(jax.random.key(seed), PARAMS)
        assert float(vector @ matrix @ vector) >= -1e-6


def test_the_kernel_and_the_gauss_newton_matrix_share_their_largest_eigenvalue():
    kernel = ntk(lambda p, x: network(p, (x,)), PARAMS, BATCH[0], scale=1 / 30)
    values = [float(top_eigs(one, KEY).values[0]) for one in (kernel, ggn(network, squares, PARAMS, BATCH))]
    assert values[0] == pytest.approx(values[1], rel=1e-5)


def test_shift_and_weighted_sum():
    first, second = rotated(np.linspace(-1, 2, 9)), rotated(np.linspace(0, 5, 9), seed=1)
    np.testing.assert_allclose(dense(shift(matrix_operator(first), 0.3)), first + 0.3 * np.eye(9), **CLOSE)
    combined = total([matrix_operator(first), matrix_operator(second)], [2.0, -1.0])
    np.testing.assert_allclose(dense(combined), 2 * first - second, **CLOSE)
    # Operators of operators, prepared as in a solver.
    nested = shift(total([combined, matrix_operator(second)]), -0.5)
    largest = np.linalg.eigvalsh(2 * first - 0.5 * np.eye(9))[-1]
    assert float(top_eigs(nested, KEY).values[0]) == pytest.approx(largest, rel=1e-5)


def test_a_mask_keeps_one_block():
    # Leaves in order: bias 3, in 18, out 3.
    operator = hessian(network_loss, PARAMS, BATCH)
    wanted = np.zeros_like(TRUTH)
    wanted[3:21, 3:21] = TRUTH[3:21, 3:21]
    masked = dense(subtree(operator, {"in": True, "bias": False, "out": False}))
    np.testing.assert_allclose(masked, wanted, **CLOSE)
    entries = {"in": False, "bias": jnp.arange(3) < 2, "out": False}
    wanted = np.zeros_like(TRUTH)
    wanted[:2, :2] = TRUTH[:2, :2]
    np.testing.assert_allclose(dense(subtree(operator, entries)), wanted, **CLOSE)


def test_a_diagonal_between_square_roots():
    curvatures, scales = np.asarray([1.0, 4.0, 9.0, 2.0]), np.asarray([0.5, 8.0, 3.0, 0.1])
    operator = preconditioned(matrix_operator(np.diag(curvatures).astype(np.float32)), jnp.asarray(scales, jnp.float32))
    result = top_eigs(operator, KEY)
    assert float(result.values[0]) == pytest.approx(max(curvatures / scales), rel=1e-6)


def test_products_of_bfloat16_parameters_keep_their_type():
    params = network_params(kind=jnp.bfloat16)
    operator = hessian(network_loss, params, BATCH)
    product = operator(params)
    assert {leaf.dtype for leaf in jax.tree.leaves(product)} == {jnp.dtype(jnp.bfloat16)}
    result = top_eigs(operator, KEY, tol=3e-2)
    assert result.values.dtype == jnp.float32
    # Products are rounded to 8 bits.
    exact = np.linalg.eigvalsh(
        dense_hessian(network_loss, jax.tree.map(lambda x: x.astype(jnp.float32), params), BATCH)
    )
    assert float(result.values[0]) == pytest.approx(exact[-1], rel=3e-2)


def test_float64_is_kept_where_it_is_enabled():
    with jax.enable_x64(True):
        matrix = jnp.asarray(np.diag(1 / np.arange(1.0, 13)))
        result = top_eigs(hessian(quadratic, jnp.ones(12, jnp.float64), matrix), KEY, tol=1e-10, dense=False)
        assert result.values.dtype == jnp.float64
        assert float(result.values[0]) == pytest.approx(1, rel=1e-12)
        assert float(result.residuals[0]) < 1e-9


def test_an_operator_crosses_jit_and_forgets_only_the_examples_values():
    operator = hessian(network_loss, PARAMS, BATCH)
    back = jax.jit(lambda one: one)(operator)
    np.testing.assert_allclose(dense(back), TRUTH, **CLOSE)
    assert back.n == operator.n == TRUTH.shape[0]
