"""What optax 0.2.8 does with low precision, zero gradients, donation and abstract parameters, beside what is done here.

The first half of every pair says why the second exists; where a release of optax mends it, that half fails.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from optax import contrib

from lrstudy.optimizers import TABLE, dealias, finite_guard, with_float32_state

PARAMS = {"bias": jnp.float32([0.25, -1.0]), "kernel": jnp.float32([[0.5, -2.0], [3.0, 1.5]])}
GRADS = jax.tree.map(jnp.cos, PARAMS)
ZEROS = jax.tree.map(jnp.zeros_like, PARAMS)
LOW = jax.tree.map(lambda x: x.astype(jnp.bfloat16), PARAMS)

METHODS = {
    "cocob": contrib.cocob,
    "dadapt": contrib.dadapt_adamw,
    "dog": contrib.dog,
    "dowg": contrib.dowg,
    "galore": functools.partial(contrib.galore, 0.1, rank=1),
    "lamb": functools.partial(optax.lamb, 0.1),
    "mechanize": functools.partial(contrib.mechanize, optax.adam(0.1)),
    "momo": functools.partial(contrib.momo, 0.1),
    "momo_adam": functools.partial(contrib.momo_adam, 0.1),
    "muon": functools.partial(contrib.muon, 0.1),
    "prodigy": contrib.prodigy,
    "schedule_free": functools.partial(contrib.schedule_free_adamw, 0.1),
}


def updater(transform):
    return functools.partial(optax.with_extra_args_support(transform).update, value=jnp.float32(1))


def trained(transform, grads, params=PARAMS):
    """Updates and states for gradients in turn, the parameters staying where they are."""
    state, update, found = transform.init(params), jax.jit(updater(transform)), []
    for grad in grads:
        updates, state = update(grad, state, params)
        found.append((updates, state))
    return found


def is_finite(tree):
    return all(np.isfinite(np.asarray(x, np.float64)).all() for x in jax.tree.leaves(tree))


def injected():
    return optax.inject_hyperparams(optax.adamw)(1e-3)


def test_injected_hyperparameters_of_low_precision():
    """They have the type of the first parameter: b2 = 0.999 is 1 in bfloat16, and 1 - b2^t a denominator of zero."""
    low = jax.tree.map(lambda x: x.astype(jnp.bfloat16), GRADS)
    ((updates, state),) = trained(injected(), [low], LOW)
    assert state.hyperparams["b1"] == 0.8984375
    assert state.hyperparams["b2"] == 1.0
    assert not is_finite(updates)
    ((updates, state),) = trained(with_float32_state(injected()), [low], LOW)
    assert state.hyperparams["b2"] == jnp.float32(0.999)
    assert is_finite(updates)
    assert all(leaf.dtype == jnp.bfloat16 for leaf in jax.tree.leaves(updates))


@pytest.mark.parametrize("name", ["prodigy", "dadapt"])
def test_a_first_gradient_of_zeros(name):
    """Both estimate the rate by a quotient of zeros; D-Adaptation's NaN shows at the next update only."""
    found = trained(METHODS[name](), [ZEROS, GRADS, GRADS])
    assert [is_finite(updates) for updates, _ in found] == [name == "dadapt", False, False]
    assert all(np.isnan(state.estim_lr) for _, state in found)

    guarded = finite_guard(METHODS[name]())
    found = trained(guarded, [ZEROS, GRADS, GRADS])
    assert is_finite(found)
    assert [int(state.refused) for _, state in found] == [1, 1, 1]
    # As if the first gradient had not been.
    for (updates, state), (plain, other) in zip(found[1:], trained(guarded, [GRADS, GRADS]), strict=True):
        jax.tree.map(np.testing.assert_array_equal, (updates, state.inner), (plain, other.inner))


@pytest.mark.parametrize("name", ["cocob", "dog", "dowg", "lamb", "mechanize", "muon", "schedule_free"])
def test_a_first_gradient_of_zeros_which_the_guard_need_not_refuse(name):
    found = trained(finite_guard(METHODS[name]()), [ZEROS, GRADS])
    assert is_finite(found)
    assert int(found[-1][1].refused) == 0


KEEPERS = ["cocob", "dog", "dowg", "mechanize", "prodigy"]


@pytest.mark.parametrize("name", [*KEEPERS, "dadapt", "momo", "schedule_free"])
def test_parameters_and_state_are_donated_right_after_init(name, capfd):
    """Some keep the very arrays that they were given as their initial parameters."""

    def step(transform):
        @functools.partial(jax.jit, donate_argnums=(0, 1))
        def made(params, state):
            updates, state = updater(transform)(GRADS, state, params)
            return optax.apply_updates(params, updates), state

        params = jax.tree.map(jnp.copy, PARAMS)
        return made(params, transform.init(params))

    raw = METHODS[name]()
    if name in KEEPERS:
        with pytest.raises(jax.errors.JaxRuntimeError, match="donate the same buffer twice"):
            step(raw)
        capfd.readouterr()  # XLA says so a second time
    else:
        step(raw)
    updates, state = updater(raw)(GRADS, raw.init(PARAMS), PARAMS)
    expected = optax.apply_updates(PARAMS, updates), state
    for one, other in zip(jax.tree.leaves(step(dealias(raw))), jax.tree.leaves(expected), strict=True):
        # One update of some twenty operations, compiled and not.
        np.testing.assert_allclose(one, other, rtol=20 * 6e-8, atol=20 * 6e-8)


@pytest.mark.parametrize(
    "name", ["dadapt", "dog", "dowg", "galore", "mechanize", "momo", "momo_adam", "prodigy", "schedule_free"]
)
def test_parameters_that_are_shapes_alone(name):
    """``init`` computes with them; ``jax.eval_shape`` of it does not, which is how shardings are asked for."""
    shapes = jax.eval_shape(lambda: PARAMS)
    raw = METHODS[name]()
    with pytest.raises((TypeError, AttributeError)):
        raw.init(shapes)
    guarded = dealias(finite_guard(raw))
    known, made = jax.eval_shape(guarded.init, shapes), guarded.init(PARAMS)
    describe = functools.partial(jax.tree.map, lambda x: (x.shape, x.dtype))
    assert describe(known) == describe(made)


@pytest.mark.parametrize("name", ["adamw", *METHODS])
def test_state_of_low_precision(name):
    """bfloat16 parameters make bfloat16 moments, sums and estimates of rates; all but Muon's constants."""
    raw = optax.adamw(0.1) if name == "adamw" else METHODS[name]()

    def kinds(transform):
        leaves = jax.tree.leaves(jax.eval_shape(transform.init, LOW))
        return {leaf.dtype.name for leaf in leaves if jnp.issubdtype(leaf.dtype, jnp.floating)}

    assert "bfloat16" in kinds(raw)
    assert kinds(with_float32_state(raw)) == {"float32"}


def test_a_state_of_low_precision_loses_what_is_small():
    """A second moment of 1 gains a thousandth of 0.25 at every update, which is below bfloat16's spacing."""
    grads, ones = jnp.full(1, 0.5, jnp.bfloat16), jnp.ones(1, jnp.bfloat16)

    def second_moment(transform):
        state = transform.init(ones)
        state = state._replace(nu=jnp.ones_like(state.nu))
        update = jax.jit(transform.update)
        for _ in range(20):
            _, state = update(grads, state, ones)
        return float(state.nu[0])

    assert second_moment(optax.scale_by_adam()) == 1
    expected = 0.25 + 0.75 * 0.999**20
    # Twenty updates, each rounded twice, and 1 - b2 is off by 3e-5 of itself.
    np.testing.assert_allclose(second_moment(with_float32_state(optax.scale_by_adam())), expected, rtol=5e-6)


RATED = {
    "adafactor": optax.adafactor,
    "adamw": optax.adamw,
    "dog": contrib.dog,
    "lamb": optax.lamb,
    "lion": optax.lion,
    "mechanize": lambda rate: contrib.mechanize(optax.adam(rate)),
    "muon": contrib.muon,
    "prodigy": contrib.prodigy,
    "schedule_free_sgd": contrib.schedule_free_sgd,
}


@pytest.mark.parametrize("name", ["adamw", "muon", "prodigy"])
def test_a_sweep_over_rates_is_one_program(name):
    """What an optimizer is given as a number may be an array: no need to inject it, nor to compile again."""

    def updated(rate):
        transform = dealias(finite_guard(RATED[name](rate)))
        return transform.update(GRADS, transform.init(PARAMS), PARAMS)[0]

    rates = jnp.float32([0.1, 0.01])
    together = jax.jit(jax.vmap(updated))(rates)
    for lane in range(2):
        one = jax.jit(updated)(rates[lane])
        for a, b in zip(jax.tree.leaves(together), jax.tree.leaves(one), strict=True):
            # An update of some hundred operations, most of them Muon's, of which none cancels.
            np.testing.assert_allclose(a[lane], b, rtol=100 * 6e-8)


@pytest.mark.parametrize("name", RATED)
def test_a_rate_may_be_traced(name):
    def updated(rate):
        transform = RATED[name](rate)
        return transform.update(GRADS, transform.init(PARAMS), PARAMS)[0]

    steps = jax.eval_shape(jax.vmap(updated), jnp.float32([0.1, 0.01]))
    assert jax.tree.map(lambda leaf: leaf.shape[0], steps) == jax.tree.map(lambda _: 2, GRADS)


def test_sophia_wants_to_be_told_its_loss():
    transform = contrib.sophia(0.1)
    with pytest.raises(ValueError, match="obj_fn"):
        transform.update(GRADS, transform.init(PARAMS), PARAMS)


def test_every_row_of_the_table_keeps_its_state_in_float32():
    params = {**LOW, "blocks": {"kernel": jnp.ones((2, 2, 2), jnp.bfloat16)}}
    for name, row in TABLE.items():
        state = jax.eval_shape(row.build(0.1, **row.defaults).init, params)
        assert not [leaf for leaf in jax.tree.leaves(state) if leaf.dtype == jnp.bfloat16], name
