"""Bad input, and curvatures that mean nothing: outside of a compiled program an error, inside a status and NaN."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lrstudy.curvature import (
    AsymmetricCurvatureError,
    NonFiniteCurvature,
    Operator,
    SharpnessTracker,
    Status,
    empirical_fisher,
    ggn,
    hessian,
    mean,
    ntk,
    sharpness,
    shift,
    subtree,
    top_eigs,
    total,
)
from tests.curvature.problems import (
    KEY,
    linear_regression,
    matrix_operator,
    network,
    network_loss,
    network_params,
    regression_data,
    rotated,
    squares,
)

PARAMS, BATCH = network_params(), regression_data()
SMALL = matrix_operator(jnp.eye(3))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"k": 0}, r"k must be in \[1, n\], n being the operator's size 3, got 0"),
        ({"k": 4}, r"k must be in \[1, n\], n being the operator's size 3, got 4"),
        ({"which": "BE"}, "which must be one of .*got 'BE'"),
        ({"max_matvecs": 1}, r"max_matvecs must be at least max\(k, 2\), got 1"),
        ({"k": 3, "max_matvecs": 2}, r"max_matvecs must be at least max\(k, 2\), got 2"),
        ({"tol": 0.0}, r"tol must be in \(0, 1\), got 0.0"),
        ({"tol": 1.0}, r"tol must be in \(0, 1\), got 1.0"),
        ({"tol": float("nan")}, r"tol must be in \(0, 1\), got nan"),
    ],
)
def test_bad_arguments_of_a_solve(arguments, message):
    with pytest.raises(ValueError, match=message):
        top_eigs(SMALL, KEY, **arguments)


@pytest.mark.parametrize(
    ("start", "message"),
    [(jnp.zeros(3), "the start vector must not be zero"), (jnp.ones(4), "the start vector must be shaped like")],
)
def test_bad_start_vectors(start, message):
    with pytest.raises(ValueError, match=message):
        top_eigs(SMALL, start)


def test_a_tolerance_below_the_types_digits_is_raised_with_a_warning():
    with pytest.warns(UserWarning, match="tol 1e-09 is below what float32 can tell; 1e-06 is used"):
        result = top_eigs(SMALL, KEY, tol=1e-9)
    assert int(result.status) == Status.CONVERGED


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"w": jnp.arange(3)}, r"params must be floating-point, got int32 at '\['w'\]'"),
        ({}, "params must hold at least one number"),
        ({"w": jnp.zeros((0, 3))}, "params must hold at least one number"),
        ({"w": jnp.ones(2, jnp.complex64)}, "params must be floating-point, got complex64"),
    ],
)
def test_parameters_without_curvature(params, message):
    makers = [
        functools.partial(hessian, network_loss),
        functools.partial(ggn, network, squares),
        functools.partial(empirical_fisher, network),
        functools.partial(ntk, network),
        lambda p, _: SharpnessTracker().init(p, KEY),
    ]
    for make in makers:
        with pytest.raises(ValueError, match=message):
            make(params, BATCH)


def test_operators_need_vectors_with_numbers():
    for example in ({}, jnp.zeros(0), jnp.arange(3)):
        with pytest.raises(ValueError, match="example must"):
            Operator(lambda v: v, example)


def test_an_empty_batch():
    empty = jnp.zeros((0, 6)), jnp.zeros(0)
    for make in (
        lambda: hessian(network_loss, PARAMS, empty),
        lambda: ggn(network, squares, PARAMS, empty),
        lambda: empirical_fisher(network, PARAMS, empty),
        lambda: ntk(network, PARAMS, empty),
    ):
        with pytest.raises(ValueError, match=r"batch must hold at least one example, got shape \(0, 6\) at '\[0\]'"):
            make()


@pytest.mark.parametrize(
    ("batch", "options", "message"),
    [
        (BATCH, {"mode": "forward"}, "mode must be one of .*got 'forward'"),
        (BATCH, {"microbatches": 0}, r"microbatches must be in \[1, examples of the batch\], got 0"),
        (BATCH, {"microbatches": 31}, r"microbatches must be in \[1, examples of the batch\], got 31"),
        ((BATCH[0], BATCH[1][:-1]), {"microbatches": 2}, "batch must be arrays with one leading axis of examples"),
        ((BATCH[0], jnp.float32(1)), {"microbatches": 2}, "batch must be arrays with one leading axis of examples"),
    ],
)
def test_bad_arguments_of_a_hessian(batch, options, message):
    with pytest.raises(ValueError, match=message):
        hessian(network_loss, PARAMS, batch, **options)


def test_bad_combinations():
    other = matrix_operator(jnp.eye(4))
    with pytest.raises(ValueError, match="operators must hold at least one operator"):
        total([])
    with pytest.raises(ValueError, match="operators must hold at least one operator"):
        mean([])
    with pytest.raises(ValueError, match=r"weights must have one number an operator \(2\), got 1"):
        total([SMALL, SMALL], [1.0])
    with pytest.raises(ValueError, match="operators must act on the same vectors, got 2 different ones"):
        total([SMALL, other])
    for examples in ([1, 0], [1, -2], [1, float("nan")]):
        with pytest.raises(ValueError, match="examples must be positive numbers"):
            mean([SMALL, SMALL], examples)
    with pytest.raises(ValueError, match="mask must keep at least one number"):
        subtree(SMALL, False)
    with pytest.raises(ValueError, match="mask must be a tree like the vectors"):
        subtree(hessian(network_loss, PARAMS, BATCH), {"in": True})


def test_losses_of_the_fisher_are_one_an_example():
    operator = empirical_fisher(network_loss, PARAMS, BATCH)
    with pytest.raises(ValueError, match=r"per_example_loss must give one number an example, got shape \(\)"):
        operator(PARAMS)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"tol": 1e-7}, r"tol must be in \[1e-6, 1\), got 1e-07"),
        ({"tol": 1.0}, r"tol must be in \[1e-6, 1\), got 1.0"),
        ({"audit_every": -1}, "audit_every must be at least 0, got -1"),
        ({"max_matvecs": 1}, "max_matvecs must be at least 2, got 1"),
    ],
)
def test_bad_arguments_of_a_tracker(arguments, message):
    with pytest.raises(ValueError, match=message):
        SharpnessTracker(**arguments)


def test_a_tracker_keeps_to_one_size():
    tracker = SharpnessTracker()
    with pytest.raises(ValueError, match="operator must be of size 4 as at init, got 3"):
        tracker.update(tracker.init(jnp.zeros(4), KEY), SMALL)


@jax.custom_vjp
def doubled(x):
    return 2 * x


# The forward pass calls the function itself, as usual: forward mode then meets a function without a rule for it.
doubled.defvjp(lambda x: (doubled(x), None), lambda _, g: (2 * g,))


def custom_loss(weights, batch):
    return linear_regression(doubled(weights), batch)


@pytest.mark.parametrize("mode", ["linearize", "fwdrev"])
def test_a_custom_backward_pass_has_no_forward_mode(mode):
    operator = hessian(custom_loss, jnp.ones(6), BATCH, mode=mode)
    with pytest.raises(TypeError, match="use mode='revrev', or 'fd'"):
        operator(jnp.ones(6))
    with pytest.raises(TypeError, match="use mode='revrev', or 'fd'"):
        top_eigs(operator, KEY)


@pytest.mark.parametrize(("mode", "error"), [("revrev", 1e-5), ("fd", 1e-3)])
def test_a_custom_backward_pass_has_a_curvature_all_the_same(mode, error):
    inputs = np.asarray(BATCH[0])
    found = top_eigs(hessian(custom_loss, jnp.ones(6), BATCH, mode=mode), KEY).values[0]
    assert float(found) == pytest.approx(4 * np.linalg.norm(inputs, 2) ** 2 / len(inputs), rel=error)


@pytest.mark.parametrize("dense", [True, False])
@pytest.mark.parametrize("value", [np.inf, np.nan])
def test_a_batch_that_is_not_finite_gives_a_status_and_nan(dense, value):
    batch = BATCH[0].at[2, 3].set(value), BATCH[1]
    solve = jax.jit(lambda batch: top_eigs(hessian(network_loss, PARAMS, batch), KEY, dense=dense))
    result = solve(batch)
    assert int(result.status) == Status.NON_FINITE
    assert np.isnan(result.values[0])
    assert np.isnan(result.residuals[0])
    # A solve that goes on after a NaN would make 24 products.
    assert dense or int(result.matvecs) == 1
    assert int(solve(BATCH).status) == Status.CONVERGED


def test_outside_of_a_compiled_program_it_is_an_error_that_names_the_step():
    batch = BATCH[0].at[0, 0].set(np.inf), BATCH[1]
    with pytest.raises(NonFiniteCurvature, match="product at step 170 is not finite"):
        sharpness(network_loss, PARAMS, batch, KEY, step=170)
    with pytest.raises(NonFiniteCurvature, match="product is not finite"):
        sharpness(network_loss, PARAMS, batch, KEY)
    good = sharpness(network_loss, PARAMS, BATCH, KEY, step=170)
    assert int(good.status) == Status.CONVERGED


class Dropout:
    """A loss with another mask at every call, as of a model that is left in training."""

    def __init__(self):
        self.calls = 0

    def __call__(self, params, batch):
        self.calls += 1
        kept = jax.random.bernoulli(jax.random.key(self.calls), 0.9, batch[0].shape)
        return network_loss(params, (jnp.where(kept, batch[0], 0) / 0.9, batch[1]))


class NewBatch:
    """A loss that draws its own batch at every call."""

    def __init__(self):
        self.calls = 0

    def __call__(self, params, batch):
        self.calls += 1
        return network_loss(params, regression_data(seed=self.calls))


@pytest.mark.parametrize("loss", [Dropout, NewBatch])
def test_a_loss_that_changes_between_calls_is_caught(loss):
    with pytest.raises(AsymmetricCurvatureError, match="products at step 3 contradict each other"):
        sharpness(loss(), PARAMS, BATCH, KEY, step=3)
    tracker = SharpnessTracker()
    state, result = jax.jit(tracker.update)(tracker.init(PARAMS, KEY), hessian(loss(), PARAMS, BATCH))
    assert int(result.status) == Status.ASYMMETRIC
    assert np.isnan(result.values[0])
    assert np.isnan(state.value)


def test_a_matrix_that_is_not_symmetric_is_caught():
    matrix = rotated(np.arange(1.0, 41)) + np.triu(np.ones((40, 40), np.float32))
    assert int(top_eigs(matrix_operator(matrix), KEY, check_symmetry=True).status) == Status.ASYMMETRIC


@pytest.mark.parametrize("dense", [True, False])
def test_a_symmetric_matrix_passes_the_probe(dense):
    matrix = rotated(np.r_[-3.0, np.zeros(20), 5.0])
    result = top_eigs(shift(matrix_operator(matrix), 1.0), KEY, check_symmetry=True, dense=dense)
    assert int(result.status) == Status.CONVERGED
    assert float(result.values[0]) == pytest.approx(6, rel=1e-5)
