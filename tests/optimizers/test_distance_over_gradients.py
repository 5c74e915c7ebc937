"""DoG and DoWG against their formulas in float64."""

import jax
import numpy as np
import pytest

from lrstudy.schedules import Linear
from tests.optimizers.following import followed, valley

START = [1.0, -2.0]
STEPS = 8


def reference(name, schedule, initial, eps):
    """Distance over gradients and over weighted gradients, as their papers write them."""
    x, total = np.asarray(START), 0.0
    distance = initial * (1 + np.linalg.norm(x)) if name == "dog" else initial
    places, rates = [], []
    for step in range(STEPS):
        g = np.asarray([1.0, 3.0]) * x
        distance = max(distance, np.linalg.norm(x - START))
        if name == "dog":
            total += g @ g
            rate = distance / np.sqrt(total + eps)
        else:
            total += distance**2 * (g @ g)
            rate = distance**2 / (np.sqrt(total) + eps)
        rates.append(rate * schedule(step))
        x = x - rates[-1] * g
        places.append(x)
    return np.asarray(places), np.asarray(rates)


@pytest.mark.parametrize(("name", "initial", "eps"), [("dog", 0.1, 1e-3), ("dowg", 0.2, 1e-3)])
def test_the_rate_is_the_published_one_times_the_schedule(name, initial, eps):
    schedule = Linear(1.0, 16)
    with jax.enable_x64(True):
        settings = {"learning_rate": schedule, "initial_distance": initial, "eps": eps}
        places, rates = followed(name, START, valley, STEPS, **settings)
        expected = reference(name, lambda step: float(schedule(step)), initial, eps)
    # The rate is reported in float32.
    np.testing.assert_allclose(places, expected[0], rtol=1e-12)
    np.testing.assert_allclose(rates, expected[1], rtol=1e-7)
    assert len(np.unique(np.round(rates, 6))) == STEPS
