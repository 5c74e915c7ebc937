import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from lrstudy.schedules import WSD, Constant, Cosine
from lrstudy.tasks import NoisyQuadratic
from lrstudy.tasks.quadratic import expected_loss, stationary_loss
from lrstudy.training import lanes
from lrstudy.training.program import Hyperparameters

SPECTRUM = {"eigenvalues": (1.0, 0.1, 0.01), "noise": (0.5,) * 3, "start": (1.0,) * 3}
STEPS, PEAK = 2000, 0.02
T = np.arange(1, STEPS + 1)


@pytest.mark.parametrize(
    ("eigenvalue", "rate", "loss"),
    [(1.0, 0.01, 0.0025125628), (10.0, 0.02, 0.0055555556), (50.0, 0.02, 0.01), (50.0, 0.01, 0.0033333333)],
)
def test_stationary_loss_golden(eigenvalue, rate, loss):
    # Printed to ten decimals: half a unit of the last.
    assert abs(stationary_loss(rate, (eigenvalue,), (1.0,)) - loss) <= 5e-11


def test_stationary_loss_adds_up_over_directions_and_scales_with_the_noise():
    parts = [stationary_loss(0.1, (lam,), (s,)) for lam, s in ((1.0, 2.0), (5.0, 0.3))]
    assert stationary_loss(0.1, (1.0, 5.0), (2.0, 0.3)) == math.fsum(parts)
    assert stationary_loss(0.1, (1.0, 5.0), (4.0, 0.6)) == 2 * math.fsum(parts)


def test_to_first_order_the_stationary_loss_does_not_depend_on_the_sharpness():
    rate, noise = 1e-6, 3.0
    for sharpness in (0.01, 1.0, 100.0):
        # eta s / (2 (2 - eta lambda)) = (eta s / 4) (1 + eta lambda / 2 + ...)
        relative = stationary_loss(rate, (sharpness,), (noise,)) / (rate * noise / 4) - 1
        assert 0 <= relative <= rate * sharpness


@pytest.mark.parametrize("rate", [0.2, 0.3])
def test_at_the_stability_limit_there_is_no_stationary_loss(rate):
    with pytest.raises(ValueError, match=r"^learning_rate must be below 2 / max\(eigenvalues\), got "):
        stationary_loss(rate, (1.0, 10.0), (1.0, 1.0))


RATES = {
    "constant": np.full(STEPS, PEAK),
    "WSD": PEAK * np.minimum(1, (STEPS - T) / 400),
    "cosine": 0.01 * (1 + np.cos(np.pi * T / STEPS)),
}
EXACT = {"constant": 0.00866693, "WSD": 0.00644128, "cosine": 0.00639910}
CLOSED_FORM = {"constant": 0.00863926, "WSD": 0.00643789, "cosine": 0.00640081}


@pytest.mark.parametrize("name", RATES)
def test_expected_loss_golden(name):
    # Printed to eight decimals: half a unit of the last.
    assert abs(expected_loss(RATES[name], **SPECTRUM) - EXACT[name]) <= 5e-9


@pytest.mark.parametrize("name", RATES)
def test_the_closed_form_of_the_multi_power_law_bounds_the_recursion(name):
    # Luo et al. 2025, theorem 3, whose error is at most 5 eta sum lambda^3 S1 exp(-2 lambda S1) theta0^2
    # + 15/2 eta^2 sum s lambda at the largest rate eta.
    eta, lam, s = RATES[name], np.array(SPECTRUM["eigenvalues"]), np.array(SPECTRUM["noise"])
    left = np.cumsum(eta[::-1])[::-1]
    forgotten = np.exp(-2 * np.outer(lam, left))
    closed = (lam * forgotten[:, 0] + eta[0] * s * (1 - forgotten[:, 0]) / 2).sum() / 2
    falls = eta[:-1] - eta[1:]
    closed -= (falls * (s[:, None] * (1 - forgotten[:, 1:])).sum(0) / 2).sum() / 2
    assert abs(closed - CLOSED_FORM[name]) <= 5e-9
    bound = 5 * PEAK * (lam**3 * left[0] * forgotten[:, 0]).sum() + 7.5 * PEAK**2 * (s * lam).sum()
    assert abs(expected_loss(eta, **SPECTRUM) - closed) <= bound


def test_expected_loss_forgets_its_start_and_becomes_stationary():
    rates = np.full(400, 0.125)
    spectrum = {"eigenvalues": (1.0, 4.0), "noise": (2.0, 0.5)}
    # The start is forgotten as (1 - 1/8)^800 = 4e-47.
    expected = stationary_loss(0.125, **spectrum)
    for start in ((0.0, 0.0), (3.0, -7.0)):
        assert expected_loss(rates, **spectrum, start=start) == pytest.approx(expected, rel=1e-13)


def test_without_noise_expected_loss_is_gradient_descent():
    rates = [0.5, 0.25, 0.125]
    y = 3.0 * math.prod(1 - rate * 2.0 for rate in rates)
    loss = expected_loss(np.asarray(rates), (2.0,), (0.0,), (3.0,))
    assert loss == pytest.approx(0.5 * 2 * y * y, rel=1e-14)
    assert expected_loss(np.zeros(0), (2.0,), (0.0,), (3.0,)) == 9


SCHEDULES = {
    "constant": Constant(PEAK),
    "WSD": WSD(PEAK, STEPS, decay_steps=400, shape="linear"),
    "cosine": Cosine(PEAK, STEPS),
}


def train(task, schedule, seeds, steps=STEPS):
    hparams = [Hyperparameters(schedule, task, {}, None, seed, steps) for seed in seeds]
    return lanes.run(hparams, lambda h: optax.sgd(h.schedule), record_every=steps)


@pytest.mark.parametrize("name", SCHEDULES)
def test_sgd_has_the_loss_of_the_recursion(name):
    task, schedule = NoisyQuadratic(**SPECTRUM, chains=2048), SCHEDULES[name]
    _, _, final = train(task, schedule, [11])
    expected = expected_loss(jax.jit(schedule)(jnp.arange(STEPS)), **SPECTRUM)
    assert abs(final["hill_loss"][0] - expected) <= 4 * final["hill_loss_se"][0]
    # That is a sharp statement: the loss of a chain is at worst a chi-square of one degree of freedom, whose mean over
    # 2048 chains has an error of sqrt(2 / 2048) = 3 %.
    assert final["hill_loss_se"][0] < 0.035 * expected


def test_without_noise_every_chain_is_gradient_descent():
    rate, steps = 0.25, 5
    task = NoisyQuadratic((1.0, 2.0), (0.0, 0.0), (4.0, -8.0), chains=3)
    lane, rows, final = train(task, Constant(rate), [0, 1], steps)
    factors = (1 - rate * np.array([1.0, 2.0])) ** steps
    # Powers of 3/4 and 1/2 times small integers are exact in float32.
    y = np.array([4.0, -8.0]) * factors
    np.testing.assert_array_equal(lane.state.params["position"], np.broadcast_to(y, (2, 3, 2)))
    np.testing.assert_array_equal(final["hill_loss"], [np.float32((0.5 * y**2 * [1, 2]).sum())] * 2)
    np.testing.assert_array_equal(final["hill_loss_se"], [0, 0])
    assert rows["loss"][rows["step"] == 0].tolist() == [0.5 * 16 + 64] * 2


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            {"eigenvalues": (1.0, 2.0)},
            r"^task: eigenvalues, noise and start must have one length, got \(2, 3, 3\)$",
        ),
        ({"noise": ()}, r"^task: eigenvalues, noise and start must have one length, got \(3, 0, 3\)$"),
        ({"start": (1.0,)}, r"^task: eigenvalues, noise and start must have one length, got \(3, 3, 1\)$"),
        ({"chains": 0}, r"^task\.chains must be a positive int, got 0$"),
    ],
)
def test_errors(fields, message):
    with pytest.raises(ValueError, match=message):
        NoisyQuadratic(**fields)
