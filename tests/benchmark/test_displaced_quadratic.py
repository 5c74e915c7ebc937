import jax
import jax.numpy as jnp
import numpy as np

from lrstudy.benchmark.displaced_quadratic import DisplacedQuadratic
from lrstudy.tasks import NoisyQuadratic

FIELDS = ((2.0, 0.5), (0.7, 0.1), (1.0, -2.0))


def test_it_is_the_noisy_quadratic_seen_from_its_start():
    displaced, plain = (kind(*FIELDS, chains=3) for kind in (DisplacedQuadratic, NoisyQuadratic))
    start = displaced.init(jax.random.key(0))
    assert not start["position"].any()
    displacement = {"position": jnp.asarray([[0.5, 1.0], [-1.0, 0.25], [0.0, 2.0]])}
    placed = {"position": plain.init(jax.random.key(0))["position"] + displacement["position"]}
    noise = plain.batch((), jnp.int32(1), jnp.int32(2))
    (value, _), gradient = displaced.gradient(displacement, noise, ())
    (expected, _), slope = plain.gradient(placed, noise, ())
    # The same arithmetic on the same numbers: sums of halves and quarters are exact.
    assert float(value) == float(expected)
    np.testing.assert_array_equal(gradient["position"], slope["position"])
    assert displaced.evaluate(displacement, ()) == plain.evaluate(placed, ())
