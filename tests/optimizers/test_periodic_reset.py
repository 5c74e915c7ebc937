"""Moments that are set to zero every so many updates."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from lrstudy.optimizers import periodic_reset
from tests.optimizers.promises import check_promises, run

PARAMS = {"kernel": jnp.zeros((2, 2))}
GRADS = [{"kernel": jnp.float32(np.random.default_rng(seed).normal(size=(2, 2)))} for seed in range(7)]


def directions(transform, grads):
    state, update, found = transform.init(PARAMS), jax.jit(transform.update), []
    for grad in grads:
        steps, state = update(grad, state)
        found.append(np.asarray(steps["kernel"]))
    return found


def test_momentum_begins_anew_every_three_updates():
    found = directions(periodic_reset(optax.trace(0.5), 3, ("trace",)), GRADS)
    pieces = [directions(optax.trace(0.5), GRADS[start : start + 3]) for start in (0, 3, 6)]
    np.testing.assert_array_equal(found, np.concatenate(pieces))


def test_adam_with_its_count_begins_anew_altogether():
    found = directions(periodic_reset(optax.scale_by_adam(), 3, ("mu", "nu", "count")), GRADS)
    pieces = [directions(optax.scale_by_adam(), GRADS[start : start + 3]) for start in (0, 3, 6)]
    np.testing.assert_allclose(found, np.concatenate(pieces), rtol=1e-6)


def test_without_it_the_correction_goes_on():
    b1, b2 = 0.9, 0.999
    found = directions(periodic_reset(optax.scale_by_adam(b1, b2, eps=0.0), 3), GRADS)
    np.testing.assert_array_equal(found[:3], directions(optax.scale_by_adam(b1, b2, eps=0.0), GRADS[:3]))
    for t in (4, 7):
        length = (1 - b1) / (1 - b1**t) * np.sqrt((1 - b2**t) / (1 - b2))
        # 1 - b2 in float32 is off by 3e-5 of itself, and 1 - b2^t by as much.
        np.testing.assert_allclose(found[t - 1], length * np.sign(GRADS[t - 1]["kernel"]), rtol=5e-5)


@pytest.mark.parametrize(("which", "left"), [(("mu",), "nu"), (("nu",), "mu")])
def test_what_is_not_named_stays(which, left):
    plain = run(optax.scale_by_adam(), PARAMS, GRADS[:3])
    found = run(periodic_reset(optax.chain(optax.clip(9.0), optax.scale_by_adam()), 2, which), PARAMS, GRADS[:3])
    moments = {name: [getattr(s, name)["kernel"] for _, s in plain] for name in ("mu", "nu")}
    reset = {name: [getattr(s.inner[1], name)["kernel"] for _, s in found] for name in ("mu", "nu")}
    # Two programs; sums of products of numbers of at most size four.
    np.testing.assert_allclose(reset[left], moments[left], rtol=0, atol=3 * 4 * 6e-8)
    np.testing.assert_allclose(reset[which[0]][:2], moments[which[0]][:2], rtol=0, atol=3 * 4 * 6e-8)
    last = {"mu": 0.1 * GRADS[2]["kernel"], "nu": 0.001 * GRADS[2]["kernel"] ** 2}[which[0]]
    np.testing.assert_allclose(reset[which[0]][2], last, rtol=5e-5)


def test_promises():
    def build(b1):
        return periodic_reset(optax.scale_by_adam(b1=b1), 2, ("mu", "nu", "count"))

    check_promises(build, {"b1": 0.9})


def test_the_period_may_be_traced():
    def last(every):
        transform = periodic_reset(optax.trace(1.0), every, ["trace"])
        state = transform.init(jnp.float32(0))
        for _ in range(4):
            step, state = transform.update(jnp.float32(1), state)
        return step

    np.testing.assert_array_equal(jax.jit(jax.vmap(last))(jnp.arange(1, 5)), [1, 2, 1, 4])


def test_bad_arguments():
    with pytest.raises(ValueError, match=r"^every must be an int of at least 1, got 0$"):
        periodic_reset(optax.scale_by_adam(), 0)
    with pytest.raises(ValueError, match=r"^which must name parts of the inner state, got 'trace'$"):
        periodic_reset(optax.scale_by_adam(), 5, ("mu", "trace")).init(PARAMS)
