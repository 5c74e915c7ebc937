"""What the study of scaling computes beside its runs: ensembles, random features solved exactly, four regimes."""

import itertools
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments import scaling_features as features
from lrstudy.laws import feature_regimes, random_features
from lrstudy.study.config import Run
from lrstudy.study.probes import Context, checkpoints
from lrstudy.tasks import RandomFeatures, RepeatedText

if TYPE_CHECKING:
    import pandas as pd

_MOST_SUBSETS = 256
_SLAB = 16
"""Windows whose logits are held at a time."""


def subsets(members: int) -> np.ndarray:
    """Every non-empty subset, one row each, as weights of the members that add up to 1; whole ensembles' order first.

    Raises:
        ValueError: there are too many.
    """
    if 2**members > _MOST_SUBSETS:
        raise ValueError(f"an ensemble must have at most {_MOST_SUBSETS.bit_length() - 1} members, got {members}")
    rows = np.asarray([row for row in itertools.product((0, 1), repeat=members) if any(row)], float)
    return rows / rows.sum(axis=1, keepdims=True)


def ensembles(context: Context) -> "pd.DataFrame":
    """The validation loss of the mean logits of every subset of the members that share a fixed set.

    Returns:
        One row a fixed set and subset: ``data_seed``, ``members``, ``loss`` (nats a byte).
    """
    import pandas as pd

    by_set: dict[int, list[Run]] = {}
    for run in context.runs:
        by_set.setdefault(int(run.columns["task.data_seed"]), []).append(run)
    steps = context.runs[0].config.steps
    frames = []
    for data_seed, runs in by_set.items():
        context.pause()
        found = checkpoints(context, runs, [steps])
        trees = [found[run.run_id][0] for run in runs]
        weights = subsets(len(runs))
        losses = subset_losses(_text(runs[0]), trees, weights)
        counts = np.count_nonzero(weights, axis=1)
        frames.append(pd.DataFrame({"data_seed": data_seed, "members": counts, "loss": losses}))
    return pd.concat(frames, ignore_index=True)


def _text(run: Run) -> RepeatedText:
    if not isinstance(run.task, RepeatedText):
        raise TypeError(f"the probe is of repeated text, got {type(run.task).__name__}")
    return run.task


def subset_losses(task: RepeatedText, trees: list[Any], weights: np.ndarray) -> np.ndarray:
    """The mean cross-entropy of weighted means of logits over the task's validation windows.

    Args:
        task: whose model and windows.
        trees: parameters of every member.
        weights: one row a mean, one column a member.

    Returns:
        One number a row, in nats.
    """
    windows = np.asarray(task.load()["validation"])
    count = max(1, len(windows) // _SLAB)
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees)

    @jax.jit
    def slab(stacked: Any, windows: jax.Array, weights: jax.Array) -> jax.Array:
        tokens = windows.astype(jnp.int32)
        logits = jax.lax.map(lambda params: task.apply(params, tokens[:, :-1]), stacked)

        def one(row: jax.Array) -> jax.Array:
            mean = jnp.tensordot(row, logits, axes=1)
            return jnp.sum(optax.softmax_cross_entropy_with_integer_labels(mean, tokens[:, 1:]))

        return jax.lax.map(one, weights)

    # All slabs but the rest have one shape, so that the program is compiled twice at most.
    cuts = [slabs * _SLAB for slabs in range(1, count)]
    sums = [slab(stacked, jnp.asarray(part), jnp.asarray(weights)) for part in np.split(windows, cuts)]
    return np.sum(np.asarray(sums, np.float64), axis=0) / (windows.shape[0] * task.context)


def solved(context: Context) -> "pd.DataFrame":
    """The test error of every way of solving on every sample, and the condition number of its features.

    Returns:
        One row a sample, number of features, way and penalty: ``data_seed``, ``features``, ``way``, ``penalty`` (NaN
        but for the ridge), ``error``, ``condition``.
    """
    import pandas as pd

    rows: list[dict[str, Any]] = []
    tasks = {int(run.columns["task.data_seed"]): run.task for run in context.runs}
    for data_seed, task in tasks.items():
        if not isinstance(task, RandomFeatures):
            raise TypeError(f"the probe is of random features, got {type(task).__name__}")
        context.pause()
        full = RandomFeatures(features=task.most, noise=float(task.noise), data_seed=data_seed, most=task.most)
        rows += [{"data_seed": data_seed, **row} for row in _solved(full)]
    return pd.DataFrame(rows)


def _solved(task: RandomFeatures) -> list[dict[str, Any]]:
    sample = jax.device_get(jax.jit(task.sample)())
    moments = random_features.error_moments(sample.weights, sample.target)
    found = []
    for count in features.COUNTS:
        own = sample.features[:, :count]
        condition = random_features.condition(own)
        ways = features.ways()
        solutions = random_features.solve(own, sample.labels, *ways.values())
        for (way, penalty), coefficients in zip(ways, solutions, strict=True):
            error = random_features.test_error(moments, sample.target, coefficients)
            row = {"features": count, "way": way, "penalty": penalty, "error": error}
            found.append({**row, "condition": condition})
    return found


def regimes(context: Context) -> "pd.DataFrame":
    """Errors of the linear teacher's students in the four regimes, the first draws of the part's seeds.

    Returns:
        One row a draw, regime, exponent and size: ``draw``, ``regime``, ``exponent``, ``size`` (samples or features),
        ``error``, less its limit where that is what is missing to it.
    """
    import pandas as pd

    seeds = sorted({int(run.columns["task.data_seed"]) for run in context.runs})
    rows: list[dict[str, Any]] = []
    for seed in seeds[: features.DRAWS]:
        context.pause()
        rows += [{"draw": seed, **row} for row in (*_variance_limited(seed), *_resolution_limited(seed))]
    return pd.DataFrame(rows)


def _variance_limited(seed: int) -> list[dict[str, Any]]:
    """What is missing to the limit, against the size of one side; the other is held at ``HELD``."""
    spectrum = feature_regimes.power_spectrum(features.DIRECTIONS, 1.0)
    found = []
    for place, regime in enumerate((features.FEW_FEATURES, features.FEW_SAMPLES)):
        rng = np.random.default_rng((seed, place))
        held = rng.normal(size=(len(spectrum), features.HELD))
        grown = rng.normal(size=(len(spectrum), features.LARGE_SIZES[-1]))
        limit = feature_regimes.limited(spectrum, held)
        for size in features.LARGE_SIZES:
            sides = (grown[:, :size], held) if regime == features.FEW_FEATURES else (held, grown[:, :size])
            error = feature_regimes.both_limited(spectrum, *sides) - limit
            found.append({"regime": regime, "exponent": 1.0, "size": size, "error": error})
    return found


def _resolution_limited(seed: int) -> list[dict[str, Any]]:
    """Errors against the size of one side, the other without limit, each with draws of its own."""
    found = []
    for place, (regime, exponent) in enumerate(itertools.product(features.RESOLUTION, features.EXPONENTS)):
        spectrum = feature_regimes.power_spectrum(features.MANY_DIRECTIONS, exponent)
        draws = np.random.default_rng((seed, 2 + place)).normal(size=(len(spectrum), features.SMALL_SIZES[-1]))
        for size in features.SMALL_SIZES:
            error = feature_regimes.limited(spectrum, draws[:, :size])
            found.append({"regime": regime, "exponent": exponent, "size": size, "error": error})
    return found
