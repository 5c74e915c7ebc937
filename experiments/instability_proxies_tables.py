"""The tables of the study of instabilities, each computed from records alone."""

from typing import TYPE_CHECKING

import numpy as np

from experiments import instability_proxies_claims as claims
from experiments.instability_proxies_views import NAMES
from lrstudy.study.figures.rates import optimum_of
from lrstudy.study.records import Records

if TYPE_CHECKING:
    import pandas as pd


def arms_table(records: Records) -> "pd.DataFrame":
    """One row an arm: what its sensitivity is, and what it comes from."""
    import pandas as pd

    rows = []
    for name, label in NAMES.items():
        own = claims.arm(records, name)
        losses, found = claims.by_rate(own, "validation_loss"), claims.sensitivities(own)
        optimum = optimum_of(losses)
        edge = "" if optimum is None or not optimum.on_edge else " (edge)"
        rows.append(
            {
                "arm": label,
                "S": float(found.mean()),
                "S, least and most": f"{found.min():.3f} to {found.max():.3f}",
                "best peak": "none" if optimum is None else f"{optimum.value:.3g}{edge}",
                "least loss": float(losses.mean(axis=1).min()),
                "loss at the highest peak": float(losses.iloc[-1].mean()),
                "logit there": float(claims.by_rate(own, "max_attention_logit").iloc[-1].mean()),
                "log Z there": float(claims.by_rate(own, "log_z").iloc[-1].mean()),
                "diverged": int((own.runs["outcome"] == "diverged").sum()),
            }
        )
    return pd.DataFrame(rows)


def sizes_table(records: Records) -> "pd.DataFrame":
    """One row a peak and size: the logit as measured and as fitted without the largest size, and the gradient."""
    import pandas as pd

    gradients, rows = claims.gradients(records), []
    for rate in claims.size_rates(records):
        logits = claims.logits_by_size(records, rate)
        fits = claims.fitted(logits, logits.index.to_list())
        for size, fit in zip(logits.index, fits, strict=True):
            measured = float(np.exp(np.log(logits.loc[size].to_numpy(float)).mean()))
            row = {"peak": rate, "parameters": int(size), "largest logit": measured, "fit": float(fit)}
            rows.append({**row, "gradient's RMS": float(gradients.loc[(size, rate)].mean())})
    return pd.DataFrame(rows)


def epsilon_table(records: Records) -> "pd.DataFrame":
    """One row a width and epsilon, means over seeds."""
    found = claims.root_mean_squares(records.part("epsilon"))
    names = {"gradient": "gradient's RMS", "update": "update's RMS / rate", "validation_loss": "validation loss"}
    table = found.groupby(["model.width", "optimizer.eps"])[list(names)].mean().reset_index()
    return table.rename(columns={**names, "model.width": "width", "optimizer.eps": "epsilon"})
