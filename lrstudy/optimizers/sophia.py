"""Sophia: momentum over a clipped estimate of the Hessian's diagonal."""

import optax

from lrstudy.optimizers.directions import Number
from lrstudy.optimizers.extra_args import needing


def sophia_direction(
    *, b1: Number, b2: Number, eps: Number, gamma: Number, clip_threshold: Number, update_interval: int
) -> optax.GradientTransformationExtraArgs:
    """Sophia's direction (Liu et al. 2023, arXiv 2305.14342), by Hutchinson's estimator, as optax computes it.

    clip(m / max(gamma h, eps), clip_threshold), entry by entry, with m the corrected mean of gradients and h the mean
    of r * (H r) for signs r drawn at every ``update_interval``-th update. Nothing in it keeps numbers from being traced
    or batched, but three of its ways are worth knowing. An update uses the h of the updates before it, so the first is
    the clipped sign of m. The signs follow from the count of updates alone, so that runs of all seeds draw the same.
    And lanes that are batched (``vmap``) compute the product H r at every update, although the estimates are taken at
    the same ones: a branch on a batched count is a selection.

    Args:
        b1: decay of the mean of gradients.
        b2: decay of the mean of estimates; not corrected for its start at zero, as published.
        eps: least denominator.
        gamma: times h; a larger one clips fewer entries.
        clip_threshold: largest size of an entry.
        update_interval: updates from one estimate to the next.

    Returns:
        Gradient to direction, of ascent; ``update`` needs the parameters and ``obj_fn``, ``params -> loss``, which is
        differentiated forward over backward.
    """
    # optax keeps the direction to itself: the step at a rate of minus one is the direction.
    direction = optax.contrib.sophia(
        -1.0, b1, b2, eps, weight_decay=0.0, gamma=gamma, clip_threshold=clip_threshold, update_interval=update_interval
    )
    return needing("sophia", ("obj_fn",), direction)
