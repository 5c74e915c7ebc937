"""Many independent chains on one landscape, trained as one run."""

import math

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
    """Standard error of the mean over chains; NaN for a single one."""
    return jnp.std(values, ddof=1) / jnp.sqrt(values.size)


def check_chains(chains: int) -> None:
    """Checks the number of chains.

    Raises:
        ValueError: there is none.
    """
    if chains < 1:
        raise ValueError(f"task.chains must be a positive int, got {chains!r}")


def check_noise(*variances: float) -> None:
    """Checks variances.

    Raises:
        ValueError: one is negative or not finite.
    """
    for variance in variances:
        if not 0 <= variance < math.inf:
            raise ValueError(f"task.noise must be a variance, finite and at least 0, got {variance!r}")
