"""Many independent chains on one landscape, trained as one run."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


def chain_loss(energies: Float[Array, " chains"], forcing: Float[Array, " chains"]) -> Float[Array, ""]:
    """A scalar whose value is the mean energy and whose gradient gives every chain its own full gradient.

    The mean of the losses would divide each chain's gradient, hence its learning rate, by the number of chains.

    Args:
        energies: the landscape's loss at each chain.
        forcing: the inner product of each chain's gradient noise with its position; adds the noise to the gradient
            and nothing to the value.
    """
    total = jnp.sum(energies + forcing)
    return jax.lax.stop_gradient(jnp.mean(energies)) + (total - jax.lax.stop_gradient(total))


def standard_error(values: Float[Array, " chains"]) -> Float[Array, ""]:
    """Standard error of the mean over chains."""
    return jnp.std(values, ddof=1) / jnp.sqrt(values.size)
