"""Measurements on finished parameters that need the task again; what they find becomes a record."""

import dataclasses
import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from lrstudy.study.config import Run
from lrstudy.study.plan import Branch

if TYPE_CHECKING:
    import pandas as pd


@dataclasses.dataclass(frozen=True)
class Context:
    """What a probe may ask for.

    Attributes:
        runs: the part's runs.
        branches: run id to the run and step that it branched from.
        params: ``(run_id, step) -> parameters`` after so many updates, from a checkpoint or computed anew.
        folder: where the probe may keep what it needs to go on after a stop; nothing else writes there.
        pause: to be called now and then by a probe that takes long; it raises if a stop was requested.
    """

    runs: Sequence[Run]
    branches: Mapping[str, Branch]
    params: Callable[[str, int], Any]
    folder: Path
    pause: Callable[[], None]


@dataclasses.dataclass(frozen=True)
class Probe:
    """A measurement after a part has been trained.

    Attributes:
        name: of the table, in ``probes/<name>-<digest of the part's runs>.parquet``.
        part: the part it looks at.
        measure: context to a table.
    """

    name: str
    part: str
    measure: Callable[[Context], "pd.DataFrame"]


def digest(run_ids: Sequence[str]) -> str:
    """What names the runs that a probe has measured: a grown part is measured again."""
    return hashlib.sha256(" ".join(sorted(run_ids)).encode()).hexdigest()[:12]


def losses_between(run: Run, start: Any, end: Any, shares: Sequence[float]) -> Mapping[str, np.ndarray]:
    """The task's evaluation along the straight line from one parameter tree to another.

    Args:
        run: whose task evaluates.
        start: parameters at share 0.
        end: parameters at share 1.
        shares: where to evaluate; below 0 and above 1 extends the line.

    Returns:
        Metric name to one value a share.
    """
    data = jax.device_put(run.task.load())

    @jax.jit
    def along(shares: jax.Array, start: Any, end: Any, data: Any) -> Any:
        def at(share: jax.Array) -> Any:
            params = jax.tree.map(lambda a, b: (1 - share) * a + share * b, start, end)
            return run.task.evaluate(params, data)

        return jax.lax.map(at, shares)

    return jax.device_get(along(jnp.asarray(shares), start, end, data))
