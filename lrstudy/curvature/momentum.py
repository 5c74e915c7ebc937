"""Rate and momentum from the ends of a spectrum."""

import jax.numpy as jnp
from jax.core import Tracer
from jaxtyping import Array, Float


def slq_lr_momentum(largest: float | Array, smallest: float | Array) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """The rate and momentum of gradient descent with heavy-ball momentum that converges fastest on a quadratic.

    Along an eigenvector of eigenvalue ``h`` the iteration ``m <- beta m + g, x <- x - eta m`` multiplies by the roots
    of ``z^2 - (1 + beta - eta h) z + beta``. As long as these are complex their size is ``sqrt(beta)``, whatever ``h``
    is; so the fastest choice makes both ends of the spectrum just real: ``sqrt(eta L) = 1 + sqrt(beta)`` and
    ``sqrt(eta mu) = 1 - sqrt(beta)``. Hence ``eta = (2 / (sqrt(L) + sqrt(mu)))^2`` and
    ``beta = ((sqrt(L) - sqrt(mu)) / (sqrt(L) + sqrt(mu)))^2`` (Polyak 1964). Granziol, Zohren & Roberts 2022 (Learning
    rates as a function of batch size, arXiv 2006.09092) are said to choose both in this way from stochastic Lanczos
    quadrature while training; that their formula is this one is not verified.

    Args:
        largest: eigenvalue L > 0, of the batch Hessian where the steps are taken on batches.
        smallest: eigenvalue mu in (0, L]; the smallest positive one that matters, of a Hessian with others.

    Returns:
        ``(learning rate, momentum)``; the error shrinks by ``sqrt(momentum)`` a step.

    Raises:
        ValueError: the ends are not in order or not positive. (Traced ones are not checked.)
    """
    if not any(isinstance(value, Tracer) for value in (largest, smallest)) and not bool(
        jnp.all((jnp.asarray(smallest) > 0) & (jnp.asarray(largest) >= smallest) & jnp.isfinite(jnp.asarray(largest)))
    ):
        raise ValueError(f"smallest must be in (0, largest], got {smallest!r} and {largest!r}")
    high, low = jnp.sqrt(jnp.asarray(largest, float)), jnp.sqrt(jnp.asarray(smallest, float))
    return (2 / (high + low)) ** 2, ((high - low) / (high + low)) ** 2
