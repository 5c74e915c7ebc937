import jax
import numpy as np
import pytest

from lrstudy.models import BiasFreeMLP
from tests.models.cases import randomized

FEATURES = 5
PLAIN = {"relu": lambda x: np.maximum(x, 0), "quadratic": np.square}


def inputs(examples):
    return np.random.default_rng(1).normal(size=(examples, FEATURES)).astype(np.float32)


@pytest.mark.parametrize("activation", PLAIN)
@pytest.mark.parametrize("layers", [0, 1, 3])
def test_equals_plain_numpy_and_has_no_biases(layers, activation):
    model = BiasFreeMLP(outputs=4, width=6, layers=layers, activation=activation)
    x = inputs(7)
    params = randomized(model, x)
    names = [f"hidden_{i}" for i in range(layers)]
    assert {name: list(own) for name, own in params.items()} == {name: ["kernel"] for name in (*names, "readout")}
    expected = x.astype(np.float64)
    for name in names:
        expected = PLAIN[activation](expected @ params[name]["kernel"])
    expected = expected @ params["readout"]["kernel"]
    # Float32 keeps 6e-8 of every product; four layers of at most six of them, each squared, so twice as far off as what
    # it is made of, relative to the largest score.
    tolerance = 2e-5 * np.abs(expected).max()
    np.testing.assert_allclose(jax.jit(model.apply)({"params": params}, x), expected, rtol=0, atol=tolerance)


def test_scores_grow_with_the_weights_by_one_power_more_than_there_are_layers():
    model = BiasFreeMLP(outputs=4, width=6, layers=2)
    x = inputs(3)
    params, apply = randomized(model, x), jax.jit(model.apply)
    doubled = apply({"params": jax.tree.map(lambda w: 2 * w, params)}, x)
    # Powers of two do not round.
    np.testing.assert_array_equal(doubled, 8 * apply({"params": params}, x))


def test_initial_weights_are_uniform_within_one_over_the_root_of_the_fan_in():
    model = BiasFreeMLP(outputs=90, width=300)
    params = jax.jit(model.init)(jax.random.key(0), inputs(1))["params"]
    for name, fan_in in (("hidden_0", FEATURES), ("hidden_1", 300), ("readout", 300)):
        scaled = np.asarray(params[name]["kernel"], np.float64) * np.sqrt(fan_in)
        # Of a thousand uniform numbers or more all but a hundredth of the range is met, and the mean square is a third
        # to a few times 0.3 / sqrt(1500).
        assert 0.99 < np.abs(scaled).max() <= 1 + 1e-6
        assert np.mean(scaled**2) == pytest.approx(1 / 3, abs=0.03)
        assert np.mean(scaled) == pytest.approx(0, abs=0.06)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"width": 0}, r"model\.width must be an int of at least 1, got 0"),
        ({"layers": -1}, r"model\.layers must be an int of at least 0, got -1"),
        (
            {"activation": "rely"},
            r"model\.activation must be one of \['quadratic', 'relu'\] \(nearest: 'relu'\), got 'rely'",
        ),
    ],
)
def test_fields_are_checked(arguments, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        BiasFreeMLP(outputs=4, **arguments)
