"""What tests share, so that they share its compiled programs: a network that trains in seconds, and fresh curves."""

import functools

import jax
import numpy as np

from lrstudy.laws.extrapolation import ImportanceSampler, LearningCurvePrior, Recipe

TINY = Recipe(curves=800, batch=16, queries=8, peak=1e-2, bars=30, width=16, layers=1, heads=1, components=2)


def curves(seed, n):
    """Up to 600 curves of the prior; of a key the first are the same however many are drawn."""
    return _curves(seed)[:n]


@functools.cache
def _curves(seed):
    return np.asarray(LearningCurvePrior().sample(jax.random.key(seed), 600))


def sampler(draws, seed=0):
    """Up to 8000 draws of the prior."""
    drawn = _draws(seed)
    return ImportanceSampler(drawn.curves[:draws], drawn.sigmas[:draws])


@functools.cache
def _draws(seed):
    return ImportanceSampler.draw(jax.random.key(seed), 8_000)
