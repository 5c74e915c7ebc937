import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from lrstudy.feedback import AppliedRate
from lrstudy.optimizers import TABLE
from lrstudy.schedules import Cosine
from lrstudy.training import TrainState, init_state, make_train_step
from lrstudy.training.step import applied_learning_rate, make_gradient_step, optimizer_count

KEY = jax.random.key(0)
PARAMS = {"w": jnp.asarray([1.0, -2.0]), "b": jnp.asarray(0.5)}


def quadratic(params, batch):
    value = 0.5 * jnp.sum(jnp.square(params["w"] - batch)) + 0.5 * jnp.square(params["b"])
    return value, {"extra": params["b"]}


def sgd(hparams):
    return optax.sgd(hparams["schedule"])


def state_of(make_transform, hparams):
    return init_state(PARAMS, make_transform(hparams), KEY)


def test_one_sgd_step_by_hand():
    hparams = {"schedule": Cosine(0.1, 10)}
    step = make_train_step(quadratic, sgd)
    state, metrics = step(state_of(sgd, hparams), jnp.asarray([0.0, 0.0]), hparams)
    np.testing.assert_allclose(state.params["w"], [0.9, -1.8], rtol=1e-6)
    assert int(state.step) == 1
    assert float(metrics["loss"]) == pytest.approx(0.5 * (1 + 4) + 0.125)
    assert float(metrics["grad_norm_l1"]) == pytest.approx(3.5)
    assert float(metrics["grad_norm_l2"]) == pytest.approx(np.sqrt(5.25))
    assert float(metrics["param_norm"]) == pytest.approx(np.sqrt(5.25))
    assert float(metrics["update_norm"]) == pytest.approx(0.1 * np.sqrt(5.25))
    assert float(metrics["learning_rate"]) == pytest.approx(0.1)
    assert float(metrics["extra"]) == 0.5


def test_the_recorded_rate_is_the_one_that_moved_the_parameters():
    schedule = Cosine(0.1, 7, warmup_steps=2)
    step = make_train_step(quadratic, sgd)
    state = state_of(sgd, {"schedule": schedule})
    for count in range(9):
        before = state.params["b"]
        state, metrics = step(state, jnp.zeros(2), {"schedule": schedule})
        assert float(metrics["learning_rate"]) == float(schedule(count))
        # b <- (1 - eta) b for this loss; two float32 roundings.
        np.testing.assert_allclose(state.params["b"], before * (1 - schedule(count)), rtol=3e-7)


def test_the_rate_is_read_at_the_optimizers_count_not_the_states_step():
    schedule = Cosine(0.1, 10)
    state = state_of(sgd, {"schedule": schedule})
    shifted = state._replace(opt_state=optax.tree.set(state.opt_state, count=jnp.int32(4)))
    assert float(applied_learning_rate(shifted, {"schedule": schedule})) == float(schedule(4))


def test_an_optimizer_without_a_count_uses_the_step():
    state = TrainState(jnp.int32(3), PARAMS, optax.sgd(0.1).init(PARAMS), KEY)
    schedule = Cosine(0.1, 10)
    assert optimizer_count(state.opt_state) is None
    assert float(applied_learning_rate(state, {"schedule": schedule})) == float(schedule(3))


def test_without_a_schedule_the_rate_is_nan_and_with_two_it_is_refused():
    state = state_of(sgd, {"schedule": Cosine(0.1, 10)})
    assert np.isnan(applied_learning_rate(state, {"rate": 0.1}))
    with pytest.raises(ValueError, match="at most one schedule"):
        applied_learning_rate(state, [Cosine(0.1, 10), Cosine(0.2, 10)])


def test_norms_are_zero_where_nothing_is_recorded_and_the_update_is_the_same():
    hparams = {"schedule": Cosine(0.1, 10)}
    step = jax.jit(make_train_step(quadratic, sgd))
    batch = jnp.zeros(2)
    silent_state, silent = step(state_of(sgd, hparams), batch, hparams, record=False)
    loud_state, loud = step(state_of(sgd, hparams), batch, hparams, record=True)
    assert float(silent["grad_norm_l2"]) == 0.0 < float(loud["grad_norm_l2"])
    assert float(silent["loss"]) == float(loud["loss"])
    assert jax.tree.all(jax.tree.map(jnp.array_equal, silent_state.params, loud_state.params))


def test_a_changed_number_does_not_compile_again():
    step = jax.jit(make_train_step(quadratic, sgd))
    for peak in (0.1, 0.2, 0.3):
        hparams = {"schedule": Cosine(peak, 10)}
        step(state_of(sgd, hparams), jnp.zeros(2), hparams)
    assert step._cache_size() == 1


def listening(hparams):
    """Gradient descent at a rate of the schedule times the loss that the step reports."""

    def update(updates, state, params=None, *, value, **extra):
        rate = hparams["schedule"](state["count"]) * value
        new = {"count": state["count"] + 1, "rate": AppliedRate(rate)}
        return jax.tree.map(lambda g: -rate * g, updates), new

    def init(params):
        return {"count": jnp.int32(0), "rate": AppliedRate(jnp.float32(0))}

    return optax.GradientTransformationExtraArgs(init, update)


@pytest.mark.parametrize("clipped", [False, True])
def test_an_optimizer_hears_the_loss_and_the_rate_it_applied_is_recorded(clipped):
    hparams = {"schedule": Cosine(0.1, 10)}

    def make(hparams):
        return optax.chain(optax.clip_by_global_norm(100.0), listening(hparams)) if clipped else listening(hparams)

    state, metrics = make_train_step(quadratic, make)(state_of(make, hparams), jnp.zeros(2), hparams)
    # The loss is 2.625 by hand (see the first test); two roundings of float32.
    rate = 0.1 * 2.625
    assert float(metrics["learning_rate"]) == pytest.approx(rate, rel=2e-7)
    np.testing.assert_allclose(state.params["w"], [1 - rate, -2 * (1 - rate)], rtol=3e-7)


def test_a_second_adapted_rate_is_refused():
    hparams = {"schedule": Cosine(0.1, 10)}

    def twice(hparams):
        return optax.chain(listening(hparams), listening(hparams))

    with pytest.raises(ValueError, match="opt_state must hold at most one AppliedRate, got 2"):
        make_train_step(quadratic, twice)(state_of(twice, hparams), jnp.zeros(2), hparams)


def test_a_gradient_of_the_tasks_own_may_follow_from_the_optimizers_state():
    def gradient(params, batch, opt_state):
        (value, extra), grads = jax.value_and_grad(quadratic, has_aux=True)(params, batch)
        count = opt_state[1].count
        return (value, {**extra, "seen": count}), jax.tree.map(lambda g: g * (1 + count), grads)

    hparams = {"schedule": Cosine(0.125, 10**6)}
    step = make_gradient_step(gradient, sgd, quadratic)
    state, first = step(state_of(sgd, hparams), jnp.zeros(2), hparams)
    np.testing.assert_array_equal(state.params["w"], [0.875, -1.75])
    state, second = step(state, jnp.zeros(2), hparams)
    # Twice the gradient in the second step; the schedule has moved by less than a rounding.
    np.testing.assert_array_equal(state.params["w"], [0.875 * 0.75, -1.75 * 0.75])
    assert (int(first["seen"]), int(second["seen"])) == (0, 1)


def test_the_functions_that_an_optimizer_may_call_are_of_the_batch_and_of_optaxs_convention():
    seen = {}

    def update(updates, state, params=None, *, value, grad_fn, obj_fn, **extra):
        elsewhere = jax.tree.map(jnp.zeros_like, params)
        seen.update(value=value, there=obj_fn(params), slope=grad_fn(elsewhere, 0), again=grad_fn(elsewhere, 1))
        return updates, state

    def make(_):
        return optax.GradientTransformationExtraArgs(lambda _: (), update)

    make_train_step(quadratic, make)(state_of(make, {}), jnp.asarray([3.0, 4.0]), {})
    assert seen["value"] == seen["there"] == 0.5 * (4 + 36) + 0.125
    for slope in (seen["slope"], seen["again"]):
        np.testing.assert_array_equal(slope["w"], [-3, -4])
        np.testing.assert_array_equal(slope["b"], 0)


@pytest.mark.parametrize("name", ["adamw", "plateau"])
def test_they_cost_an_optimizer_nothing_that_does_not_call_them(name):
    row, traced = TABLE[name], []

    def loss(params, batch):
        traced.append(batch)
        return quadratic(params, batch)

    def ours(hparams):
        return row.build(hparams["schedule"], **row.defaults)

    def told_the_loss_alone(hparams):
        inner = optax.with_extra_args_support(ours(hparams))

        def update(updates, state, params=None, *, value, **_):
            return inner.update(updates, state, params, value=value)

        return optax.GradientTransformationExtraArgs(inner.init, update)

    def program(make):
        hparams = {"schedule": Cosine(0.1, 10)}
        return jax.jit(make_train_step(loss, make)).lower(state_of(make, hparams), jnp.zeros(2), hparams).as_text()

    assert program(ours) == program(told_the_loss_alone)
    # Each program was traced once, through one call of the loss.
    assert len(traced) == 2
