"""CLASSP's rule as it is written, and as it was released."""

import jax.numpy as jnp
import numpy as np
import pytest

from lrstudy.optimizers import classp
from lrstudy.schedules import Linear
from tests.optimizers.promises import check_promises, run

W = jnp.float32([[1, 2], [3, 4]])
G = [jnp.float32(g) for g in ([[0.1, -0.2], [0.3, -0.4]], [[0.2, 0.1], [-0.1, 0.3]])]
EXPECTED = {
    "paper": ([[1, 2], [2.800011110, 4.199993750]], [[1, 2], [2.800011110, 4.079996148]]),
    "released": (
        [[0.936757624, 2.089440584], [2.890457392, 4.126489639]],
        [[0.863729179, 2.052926302], [2.922079802, 4.054776669]],
    ),
}
# Parameters of size four in float32, rounded twice a step; a step of 0.1 is a quotient good to a few roundings.
ROUNDING = 2 * 2 * 2.4e-7


@pytest.mark.parametrize("mode", EXPECTED)
def test_two_updates(mode):
    found = run(classp(0.2, threshold=0.05, power=2.0, eps=1e-5, mode=mode), W, G)
    for (params, _), after in zip(found, EXPECTED[mode], strict=True):
        np.testing.assert_allclose(params, after, rtol=0, atol=ROUNDING)
    if mode == "paper":
        np.testing.assert_allclose(found[0][1][0].s, [[0, 0], [0.09, 0.16]], rtol=1e-6)
        np.testing.assert_allclose(found[1][1][0].s, [[0, 0], [0.09, 0.25]], rtol=1e-6)


def test_the_paper_form_with_the_defaults_is_what_one_gets():
    for settings in ({}, {"learning_rate": 0.2, "threshold": 0.5, "power": 1.0, "eps": 1e-5, "mode": "paper"}):
        (params, state), *_ = run(classp(**settings), W, [3 * G[0]])
        # Of 0.3, 0.6, 0.9 and 1.2 the last two have a square of more than a half, and a step of the rate's size.
        np.testing.assert_allclose(state[0].s, [[0, 0], [0.9, 1.2]], rtol=1e-6)
        np.testing.assert_allclose(params - W, [[0, 0], [-0.2, 0.2]], rtol=0, atol=ROUNDING + 0.2 * 1.2e-5)


def test_with_squares_and_no_threshold_it_is_adagrad():
    found = run(classp(0.1, threshold=0.0, power=2.0, eps=1e-3), W, G)
    total, params = 0.0, np.asarray(W, float)
    for gradient, (moved, _) in zip(G, found, strict=True):
        total = total + np.square(np.asarray(gradient, float))
        params = params - 0.1 * np.asarray(gradient, float) / np.sqrt(1e-3 + total)
        np.testing.assert_allclose(moved, params, rtol=0, atol=ROUNDING)


def test_the_released_condition_is_of_a_whole_tensor_and_of_any_gradient():
    zero = jnp.zeros_like(W)
    tiny = zero.at[0, 0].set(1e-6)
    for gradient, threshold, passes in ((tiny, 0.9, True), (tiny, 1.0, False), (zero, 0.0, False), (zero, -0.1, True)):
        transform = classp(threshold=threshold, mode="released")
        steps, state = transform.update(gradient, transform.init(W))
        assert bool((state[0].s == jnp.abs(gradient)).all()) == (passes or not gradient.any())
        assert (steps != 0).any() == (passes and gradient.any())


def test_the_rate_may_be_a_schedule():
    schedule = Linear(0.2, 4)
    found = run(classp(schedule, threshold=0.05), W, [G[1], G[1], G[1]])
    steps = [float(a[0][1, 1] - b[0][1, 1]) for a, b in zip([(W,), *found], found, strict=False)]
    # 0.3 over its sums 0.3, 0.6 and 0.9.
    np.testing.assert_allclose(steps, [0.2, 0.15 / 2, 0.1 / 3], rtol=0, atol=ROUNDING + 0.2 * 4e-5)


@pytest.mark.parametrize("mode", EXPECTED)
def test_promises(mode):
    def build(**numbers):
        return classp(mode=mode, **numbers)

    check_promises(build, {"learning_rate": 0.2, "threshold": 0.5, "power": 2.0, "eps": 1e-5})


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"mode": "code"}, r"mode must be one of \['paper', 'released'\], got 'code'"),
        ({"power": 0.0}, r"power must be a number in \[0.001, inf\], got 0.0"),
        ({"eps": -1.0}, r"eps must be a number in \[0, inf\], got -1.0"),
    ],
)
def test_bad_arguments(settings, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        classp(**settings)
