"""What a method keeps in memory, counted from the shapes of its real state."""

import math
from typing import TYPE_CHECKING, Any

import jax

from lrstudy.optimizers.frugal import hidden_mask
from lrstudy.study.config import make_transform
from lrstudy.study.probes import Context

if TYPE_CHECKING:
    import pandas as pd


def memory(context: Context) -> "pd.DataFrame":
    """Bytes of one run, which all runs of a method share; nothing is computed.

    Returns:
        One row: ``parameters`` and how many of them are ``hidden``, in matrices that can be split; bytes of
        ``weights``, of ``gradients`` and of the optimizer's ``state``, indices, projectors and counts included.
    """
    import pandas as pd

    run = context.runs[0]
    params = jax.eval_shape(lambda: run.task.init(jax.random.key(0)))
    state = jax.eval_shape(make_transform(run, run.hyperparameters).init, params)
    hidden = [size for size, mine in zip(_sizes(params), jax.tree.leaves(hidden_mask(params)), strict=True) if mine]
    weights = _bytes(params)
    row = {"parameters": sum(_sizes(params)), "hidden": sum(hidden), "weights": weights, "gradients": weights}
    return pd.DataFrame([{**row, "state": _bytes(state)}])


def _sizes(tree: Any) -> list[int]:
    return [math.prod(leaf.shape) for leaf in jax.tree.leaves(tree)]


def _bytes(tree: Any) -> int:
    return sum(math.prod(leaf.shape) * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))
