"""NAdam's two numerators against published numbers."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from lrstudy.optimizers import TABLE

EXPECTED = {
    "optax": [[2.8526315814, 4.0], [2.8308895506, 3.8786315672]],
    "algoperf": [[2.8100000032, 4.0], [2.7737711142, 3.8586140135]],
}


@pytest.mark.parametrize("rule", EXPECTED)
def test_both_rules_take_their_published_steps(rule):
    """From (3, 4) at the rate 0.1 without decay, in float64, to all digits printed."""
    with jax.enable_x64(True):
        transform = TABLE["nadamw"].build(0.1, rule=rule, b1=0.9, b2=0.999, eps=1e-8, weight_decay=0.0)
        params, update = {"kernel": jnp.asarray([[3.0, 4.0]])}, jax.jit(transform.update)
        state = transform.init(params)
        for grad, after in zip([[0.6, 0.0], [-0.1, 0.2]], EXPECTED[rule], strict=True):
            updates, state = update({"kernel": jnp.asarray([grad])}, state, params)
            params = optax.apply_updates(params, updates)
            # Half a unit of the last digit; but 2.8308895506 was printed for what is 2.83088955092 in exact arithmetic.
            np.testing.assert_allclose(params["kernel"], [after], rtol=0, atol=5.1e-11 if rule != "optax" else 3.5e-10)
