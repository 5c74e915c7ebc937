"""The coordinate check of the perceptron under every parametrization, as a probe of the transfer study."""

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp

from lrstudy.parametrization.coordinate import coordinate_check
from lrstudy.study.config import Run
from lrstudy.study.errors import StudyError
from lrstudy.study.probes import Context, Probe
from lrstudy.study.records import Records

if TYPE_CHECKING:
    import pandas as pd

NAME = "coordinates"
SIZE, CHANGE = "|h|", "|h - h0|"
RATE = 1e-2
"""Of Adam; larger than what one trains with, so that three updates leave a change to measure."""
UPDATES = 3
"""After which the slopes are judged."""


def measure(context: Context) -> "pd.DataFrame":
    """The slope of every activation's size and change over the width, under each parametrization.

    Args:
        context: of a part whose runs differ in parametrization and width.

    Returns:
        Columns ``parametrization``, ``statistic``, ``module``, ``updates``, ``slope`` and ``seeds``.
    """
    import pandas as pd

    rows: list[dict[str, Any]] = []
    seeds = sorted({run.config.seed for run in context.runs})
    # A check of fewer than three seeds is none.
    seeds += range(seeds[-1] + 1, seeds[-1] + 4 - len(seeds))
    for name in dict.fromkeys(run.columns["parametrization"] for run in context.runs):
        context.pause()
        found = _slopes([run for run in context.runs if run.columns["parametrization"] == name], seeds)
        for series, slopes in found.items():
            statistic, _, module = series.rpartition(" ")
            row = {"parametrization": name, "statistic": statistic, "module": module, "seeds": len(seeds)}
            rows += [{**row, "updates": updates, "slope": slope} for updates, slope in enumerate(slopes)]
    return pd.DataFrame(rows)


def _first_batch(task: Any, seed: int) -> Any:
    """The batch of a seed's first step, of data in memory or on disk."""
    reader = task.reader()
    if reader is not None:
        return reader(seed, 0)
    return task.batch(jax.device_put(task.load()), jnp.asarray(seed), jnp.asarray(0))


def _slopes(runs: Sequence[Run], seeds: Sequence[int]) -> dict[str, tuple[float, ...]]:
    by_width = {int(run.columns["model.width"]): run for run in runs}
    first = runs[0]
    batch = _first_batch(first.task, seeds[0])

    def make_model(width: int) -> tuple[Any, Any, Any]:
        run = by_width[width]
        module = run.task.model.module if run.parametrization else run.task.model  # pyright: ignore[reportAttributeAccessIssue, reportOptionalMemberAccess]
        task = dataclasses.replace(run.task, model=module)
        return module, batch, lambda params, batch: task.loss(params, batch)[0]

    return coordinate_check(
        make_model,
        sorted(by_width),
        base_width=int(first.columns["parametrization.base_width"]),
        parametrization=str(first.columns["parametrization"]),
        optimizer=first.config.optimizer.name,
        learning_rate=RATE,
        steps=UPDATES + 1,
        seeds=seeds,
        **first.optimizer,
    ).slopes


PROBES = (Probe(f"{NAME}_mlp", "mlp", measure), Probe(f"{NAME}_ntk", "ntk", measure))


def table(records: Records) -> "pd.DataFrame":
    """The slopes of all parametrizations.

    Raises:
        StudyError: none has been measured.
    """
    import pandas as pd

    found = [records.probes[probe.name] for probe in PROBES if probe.name in records.probes]
    if not found:
        raise StudyError("no coordinate check has been made")
    return pd.concat(found, ignore_index=True)


def judged(records: Records, parametrization: str) -> "pd.DataFrame":
    """The slopes of a parametrization after the last update.

    Raises:
        StudyError: they have not been measured.
    """
    slopes = table(records)
    own = slopes[(slopes["parametrization"] == parametrization) & (slopes["updates"] == UPDATES)]
    if not len(own):
        raise StudyError(f"no coordinate check of {parametrization} has been made")
    return own.reset_index(drop=True)
