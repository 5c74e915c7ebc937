"""AdEMAMix: Adam whose numerator also remembers gradients of thousands of steps ago."""

import jax
import jax.numpy as jnp
import optax

from lrstudy.optimizers.directions import Number


def ademamix_direction(
    *, b1: Number, b2: Number, b3: Number, slow_weight: Number, eps: Number, warmup_steps: int
) -> optax.GradientTransformation:
    """The ratio (m1 / (1 - b1^t) + alpha m2) / (sqrt(v / (1 - b2^t)) + eps) (Pagliardini et al. 2024).

    m1 and m2 are running means of the gradient with the decays b1 and b3, v of its square; m2 is not corrected, so it
    fills slowly (arXiv 2409.03137). ``optax.contrib.scale_by_ademamix`` computes it. A long memory of the first, large
    gradients can make early training diverge, so the paper warms up both numbers over T steps: alpha_t = alpha t / T,
    and b3_t from b1 to b3 so that the memory of m2 grows linearly, 1 / log b3_t = (1 - t/T) / log b1 + (t/T) / log b3.

    Args:
        b1: decay of the fast mean.
        b2: decay of the mean of squares.
        b3: decay of the slow mean.
        slow_weight: alpha, the weight of the slow mean.
        eps: offset of the denominator.
        warmup_steps: T; 0: both numbers are what they are from the first step on.

    Returns:
        Gradient to direction, of ascent.
    """

    def share(count: jax.Array) -> jax.Array:
        return jnp.minimum(1.0, (count + 1) / warmup_steps)

    def weight(count: jax.Array) -> jax.Array:
        return slow_weight * share(count)

    def slow(count: jax.Array) -> jax.Array:
        done = share(count)
        inverse = (1 - done) / jnp.log(b1) + done / jnp.log(b3)
        # A b3 below b1 is a choice too; what is not to be passed is b3.
        return jnp.minimum(jnp.exp(1 / inverse), b3)

    warm = warmup_steps > 0
    return optax.contrib.scale_by_ademamix(b1, b2, slow if warm else b3, weight if warm else slow_weight, eps)  # pyright: ignore[reportReturnType]
