"""Adam with Nesterov's look-ahead, in the form of the AlgoPerf submissions."""

from typing import Any

import jax
import jax.numpy as jnp
import optax

from lrstudy.optimizers.checks import Real


def nadam_algoperf(
    b1: Real = 0.9, b2: Real = 0.999, eps: Real = 1e-8, eps_root: Real = 0.0, debias: bool = True
) -> optax.GradientTransformation:
    """The direction of AlgoPerf's NAdamW, which is not that of ``optax.nadamw``.

    With m and v Adam's moments after t gradients and g the last of them, the direction is
    mhat / (sqrt(vhat + eps_root) + eps), mhat = (b1 m + (1 - b1) g) / (1 - b1^t), vhat = v / (1 - b2^t), as in the
    self-tuning baselines of AlgoPerf (Dahl et al. 2023, arXiv 2306.07179). optax divides b1 m by 1 - b1^(t+1), as
    Dozat (2016) does: at b1 = 0.9 its first step is 1.47 long, this one 1.9. Decay and rate are chained after it.

    Args:
        b1: decay of the first moment.
        b2: decay of the second moment.
        eps: offset of the denominator.
        eps_root: offset under the root.
        debias: whether moments are divided by what the weights of their gradients sum to.

    Returns:
        Gradient to direction, of ascent; its state is Adam's.
    """

    def init(params: Any) -> optax.ScaleByAdamState:
        return optax.ScaleByAdamState(
            count=jnp.zeros((), jnp.int32), mu=optax.tree.zeros_like(params), nu=optax.tree.zeros_like(params)
        )

    def update(updates: Any, state: optax.ScaleByAdamState, params: Any = None) -> tuple[Any, optax.ScaleByAdamState]:
        del params
        count = optax.safe_increment(state.count)
        mu = optax.tree.update_moment(updates, state.mu, b1, 1)
        nu = optax.tree.update_moment(updates, state.nu, b2, 2)
        ahead, square = optax.tree.update_moment(updates, mu, b1, 1), nu
        if debias:
            ahead = optax.tree.bias_correction(ahead, b1, count)
            square = optax.tree.bias_correction(square, b2, count)
        steps = jax.tree.map(lambda m, v: m / (jnp.sqrt(v + eps_root) + eps), ahead, square)
        return steps, optax.ScaleByAdamState(count=count, mu=mu, nu=nu)

    return optax.GradientTransformation(init, update)  # pyright: ignore[reportArgumentType]
