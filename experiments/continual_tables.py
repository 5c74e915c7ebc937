"""The tables of the continual study, each computed from records alone."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from experiments import continual_claims as claims
from lrstudy.study.claims import mean_interval
from lrstudy.study.records import Records
from lrstudy.study.stability import Accuracies

if TYPE_CHECKING:
    import pandas as pd

DOMAINS = {"English": claims.PROSE, "code": claims.CODE, "mean": claims.BOTH}
SCHEDULES = {"Rewarmed": "re-warmed", "Infinite": "infinite", "Cosine": "not re-warmed"}


def _losses(records: Records) -> dict[str, float]:
    """Mean over seeds of each domain's final loss, and the standard error of the mean of both domains."""
    row = {name: float(records.final(metric).mean()) for name, metric in DOMAINS.items()}
    return {**row, "standard error of the mean": float(records.final(claims.BOTH).sem()), "seeds": len(records.runs)}


def text_table(records: Records) -> "pd.DataFrame":
    """Final loss of each domain for every schedule and share of replay, and of the run that saw both at once."""
    import pandas as pd

    rows: list[dict[str, Any]] = []
    for schedule, label in SCHEDULES.items():
        for replay in claims.REPLAYS:
            own = claims.text_runs(records, schedule, replay)
            lost = float(claims.forgetting(own).mean())
            rows.append({"schedule": label, "replay": f"{replay:.0%}", **_losses(own), "forgetting": lost})
    union = claims.baseline(records, "Cosine", claims.UNION)
    rows.append({"schedule": "both domains from the beginning", "replay": "", **_losses(union)})
    return pd.DataFrame(rows)


def rewarming_table(records: Records) -> "pd.DataFrame":
    """Final loss of each domain for every length of the warmup and height of the second peak."""
    import pandas as pd

    return pd.DataFrame(
        [
            {"warmup": f"{warmup:.0%}", "second peak over first": second, **_losses(own)}
            for (warmup, second), own in claims.rewarmings(records).items()
        ]
    )


def upsampling_table(records: Records) -> "pd.DataFrame":
    """Final loss of each domain for every share of code in the last fifth."""
    import pandas as pd

    return pd.DataFrame(
        [
            {"share of code in the last fifth": share, **_losses(claims.upsampled(records, share))}
            for share in claims.UPSAMPLED
        ]
    )


def _metrics(runs: Sequence[Accuracies]) -> dict[str, Any]:
    """Means over seeds of what is said of the end of the last task."""
    last = runs[0].tasks
    columns = {
        "ACC": [own.average(last) for own in runs],
        "FORG": [own.forgetting(last) for own in runs],
        "min-ACC": [own.minimum(last) for own in runs],
        "min-ACC, ends of tasks alone": [own.sampled(own.ends).minimum(last) for own in runs],
        "old tasks at the end": [claims.old_tasks(own) for own in runs],
        "WC-ACC": [own.worst_case(last) for own in runs],
    }
    return {**{name: float(np.mean(values)) for name, values in columns.items()}, "seeds": len(runs)}


def digits_table(records: Records) -> "pd.DataFrame":
    """The metrics of continual evaluation by replay; ACC beside that of the most replay, all tasks alike, paired."""
    import pandas as pd

    most = claims.REPLAYS[-1]
    alike = claims.averages(claims.rehearsed(records, most))
    rows = []
    for replay, exponent in (*((replay, 0.0) for replay in claims.REPLAYS), (most, claims.EXPONENT)):
        runs = claims.rehearsed(records, replay, exponent)
        gap = mean_interval(claims.averages(runs) - alike)
        whom = f"age^-{exponent:g}" if exponent else "alike"
        row = {"replay": f"{replay:.0%}", "earlier tasks": whom if replay else "", **_metrics(runs)}
        rows.append({**row, f"ACC minus {most:.0%} alike": gap.value, "95% low": gap.low, "95% high": gap.high})
    return pd.DataFrame(rows)


def rotated_table(records: Records) -> "pd.DataFrame":
    """Mean over seeds of the accuracy on each task when each task is over, and of the continual metrics."""
    import pandas as pd

    runs = claims.accuracies(records.part("rotated"))
    rows = []
    for k in range(1, runs[0].tasks + 1):
        seen = {f"task {task + 1}": float(np.mean([own.at_end(k)[task] for own in runs])) for task in range(k)}
        metrics = {"ACC": Accuracies.average, "min-ACC": Accuracies.minimum, "WC-ACC": Accuracies.worst_case}
        means = {name: float(np.mean([metric(own, k) for own in runs])) for name, metric in metrics.items()}
        rows.append({"after task": k, **seen, **means, "seeds": len(runs)})
    return pd.DataFrame(rows)
