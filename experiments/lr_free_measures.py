"""What the study of learning-rate-free methods computes from its trials."""

import functools
import json
from typing import TYPE_CHECKING, Any

import numpy as np

from experiments.lr_free_submissions import BASELINE, space_of
from lrstudy.benchmark import score
from lrstudy.study.claims import LEVEL, Measurement, mean_interval, unbounded
from lrstudy.study.errors import StudyError
from lrstudy.study.records import Records

if TYPE_CHECKING:
    import pandas as pd

KINDS = ("default", "calibrated")
_DRAWS = 1_000
_EDGE = 0.05


def trials(records: Records) -> "pd.DataFrame":
    """The table of the probe.

    Raises:
        StudyError: it has not been made.
    """
    if "times" not in records.probes:
        raise StudyError("the trials have not been timed")
    return records.probes["times"]


def studies(records: Records) -> "tuple[list[tuple[str, str]], list[str], np.ndarray]":
    """Submissions (method, kind), workloads, and updates to the target, (submissions, workloads, studies)."""
    table = trials(records)
    table = table[table["kind"].isin(KINDS)]
    cells = table.pivot_table(index=["method", "kind"], columns=["workload", "trial"], values="steps", sort=False,
                              dropna=False)  # fmt: skip
    workloads = list(dict.fromkeys(table["workload"]))
    values = np.stack([cells[name].to_numpy(np.float64) for name in workloads], axis=1)
    return [(str(method), str(kind)) for method, kind in cells.index], workloads, values


def scored(submissions: list[tuple[str, str]], workloads: list[str], values: np.ndarray) -> np.ndarray:
    """Exact scores of all submissions among each other, of the median over the last axis."""
    import pandas as pd

    index = [f"{method} {kind}" for method, kind in submissions]
    # A workload's name never begins another's here: the columns are no held-out variants.
    return np.asarray(list(score(pd.DataFrame(np.median(values, axis=-1), index=index, columns=workloads)).values()))


def scores_of(records: Records) -> tuple[list[tuple[str, str]], np.ndarray]:
    """Submissions and their exact scores among each other."""
    submissions, workloads, values = studies(records)
    return submissions, scored(submissions, workloads, values)


def resampled(records: Records) -> tuple[list[tuple[str, str]], np.ndarray, np.ndarray]:
    """Submissions, their scores, and (draws, submissions) scores of studies drawn again, the same for everybody.

    Studies of one number share their seed, so they are drawn together.
    """
    submissions, workloads, values = studies(records)
    return submissions, scored(submissions, workloads, values), _draws(values.tobytes(), values.shape, tuple(workloads))


@functools.cache
def _draws(values: bytes, shape: tuple[int, ...], workloads: tuple[str, ...]) -> np.ndarray:
    table = np.frombuffer(values).reshape(shape)
    rng, names = np.random.default_rng(0), [(str(i), "") for i in range(shape[0])]
    drawn = rng.integers(shape[-1], size=(_DRAWS, shape[-1]))
    return np.stack([scored(names, list(workloads), table[..., one]) for one in drawn])


def _measurement(value: float, draws: np.ndarray, n: int) -> Measurement:
    low, high = np.quantile(draws, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Measurement(float(value), n, float(low), float(high))


def _of(submissions: list[tuple[str, str]], kind: str, free: bool) -> list[int]:
    return [i for i, (name, own) in enumerate(submissions) if own == kind and (name != BASELINE) == free]


def met_by_default(records: Records) -> Measurement:
    """The share of targets that the median study of a learning-rate-free method meets at published defaults."""
    submissions, _, values = studies(records)
    own = values[_of(submissions, "default", free=True)]
    share = np.isfinite(np.median(own, axis=-1)).mean()
    rng = np.random.default_rng(0)
    drawn = rng.integers(own.shape[-1], size=(_DRAWS, own.shape[-1]))
    return _measurement(
        share, np.asarray([np.isfinite(np.median(own[..., d], -1)).mean() for d in drawn]), own.shape[-1]
    )


def gained(records: Records) -> Measurement:
    """What calibration adds to the score, in the mean over learning-rate-free methods, which are the samples."""
    submissions, scores = scores_of(records)
    after, before = (_of(submissions, kind, free=True) for kind in ("calibrated", "default"))
    return mean_interval(scores[after] - scores[before])


def ahead_of_best(records: Records) -> Measurement:
    """Score of calibrated NAdamW less that of the best calibrated learning-rate-free method.

    Every method is calibrated once: how far another draw of points would lead is not known, and no interval bounds it.
    """
    submissions, scores = scores_of(records)
    free, (baseline,) = _of(submissions, "calibrated", free=True), _of(submissions, "calibrated", free=False)
    return unbounded(float(scores[baseline] - scores[free].max()), 1)


def ahead_of_all(records: Records) -> Measurement:
    """Score of calibrated NAdamW less the mean of the calibrated learning-rate-free methods; of one calibration."""
    submissions, scores = scores_of(records)
    free, (baseline,) = _of(submissions, "calibrated", free=True), _of(submissions, "calibrated", free=False)
    return unbounded(float(scores[baseline] - scores[free].mean()), 1)


def baseline_gained(records: Records) -> Measurement:
    """What calibration adds to the score of NAdamW; of one calibration."""
    submissions, scores = scores_of(records)
    (after,), (before,) = (_of(submissions, kind, free=False) for kind in ("calibrated", "default"))
    return unbounded(float(scores[after] - scores[before]), 1)


def score_table(records: Records) -> "pd.DataFrame":
    """One row a submission, the best first."""
    import pandas as pd

    submissions, scores, draws = resampled(records)
    met = np.isfinite(np.median(studies(records)[2], axis=-1)).sum(1)
    rows: list[dict[str, Any]] = []
    for i, (method, kind) in enumerate(submissions):
        found = _measurement(scores[i], draws[:, i], 0)
        rows.append({"method": method, "setting": kind, "score": found.value, "low": found.low, "high": found.high,
                     "targets met": int(met[i])})  # fmt: skip
    return pd.DataFrame(rows).sort_values("score", ascending=False, kind="stable").reset_index(drop=True)


def time_table(records: Records) -> "pd.DataFrame":
    """Median updates to the target, submissions by workloads."""
    import pandas as pd

    submissions, workloads, values = studies(records)
    index = pd.MultiIndex.from_tuples(submissions, names=["method", "setting"])
    return pd.DataFrame(np.median(values, axis=-1), index=index, columns=workloads).reset_index()


def point_table(records: Records) -> "pd.DataFrame":
    """The calibrated hyperparameters, and which of them lie at the edge of their range."""
    import pandas as pd

    table = trials(records)
    rows = []
    for method, own in table[table["kind"] == "calibrated"].groupby("method", sort=False):
        point = json.loads(own["hyperparameters"].iloc[0])
        space = space_of(str(method))
        edge = [key for key, value in point.items() if not space[key].at(_EDGE) <= value <= space[key].at(1 - _EDGE)]
        rows.append({"method": method, **point, "at the edge": ", ".join(edge)})
    return pd.DataFrame(rows)
