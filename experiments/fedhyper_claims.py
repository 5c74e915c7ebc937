"""The claims of the FedHyper study: what is measured, and thresholds that were fixed before the run.

On the development seeds (1, 2, 3) the raw product hardly moved a rate that was too low: it is the square of the change,
some 0.005 at a round, so the factors of G, SL and CL stayed below 1.2, 1.3 and 1.01. The claims on raw products are the
paper's all the same and are asked as they are; at the sizes of the ``cpu`` preset a1, a3 and a4 fail for that reason.
c3 fails too: at the good rate the raw products are large, SL's sum has no bounds (as published) and drives the clients
to ten times their rate, from which some seeds recover late. With the cosine none of this happens.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from lrstudy.study.claims import Claim, Measurement, mean_interval, paired
from lrstudy.study.records import Records

if TYPE_CHECKING:
    import pandas as pd

FORMS, PRODUCTS = ("G", "GM", "SL", "CL"), ("raw", "cosine")
GOOD_RATE, LOW_RATE = 0.1, 0.01
"""Local rates: the best of FedAvg's on a grid of 0.01, 0.03, 0.1, 0.3 and 1 within a standard error, and a tenth."""
TARGET = 0.9
"""Validation accuracy that counts as reached: high enough that a lucky round does not reach it early."""
ACCURACY = "validation_accuracy"


def fedavg(records: Records, rate: float) -> Records:
    """The runs whose server adds the mean change as it is."""
    return records.part("").where(optimizer="sgd", task__learning_rate=rate)


def form(records: Records, kind: str, product: str, rate: float) -> Records:
    """The runs of one form of FedHyper."""
    return records.part("").where(
        optimizer="fedhyper", optimizer__kind=kind, optimizer__product=product, task__learning_rate=rate
    )


def rounds_to_target(records: Records) -> np.ndarray:
    """Rounds until the target is first reached, one number a seed; NaN where it never is."""
    curves = records.curves(ACCURACY).reindex(columns=sorted(records.runs["seed"]))
    reached = curves.to_numpy() >= TARGET
    first = curves.index.to_numpy()[np.argmax(reached, axis=0)].astype(float)
    return np.where(reached.any(axis=0), first, np.nan)


def final_accuracy(records: Records) -> np.ndarray:
    """Of the final weights, one number a seed; NaN where the run diverged."""
    finished = records.runs["outcome"] == "ok"
    runs = records.runs.assign(**{ACCURACY: records.runs[ACCURACY].where(finished)})
    return Records(runs, records.metrics, {}, {}).final(ACCURACY).to_numpy()


def speedup(records: Records, kind: str, product: str) -> Measurement:
    """FedAvg's rounds to the target over the form's, at the low rate.

    A run of FedAvg that never reaches the target counts with all its rounds, which understates the ratio.
    """
    plain = fedavg(records, LOW_RATE)
    slow = np.nan_to_num(rounds_to_target(plain), nan=float(plain.runs["steps"].max()))
    return paired(slow, rounds_to_target(form(records, kind, product, LOW_RATE)), np.divide)


def accuracy_gain(records: Records, kind: str, product: str) -> Measurement:
    """The form's final accuracy less FedAvg's, at the good rate."""
    own = final_accuracy(form(records, kind, product, GOOD_RATE))
    return paired(own, final_accuracy(fedavg(records, GOOD_RATE)), np.subtract)


def _bound(measure: Callable[[Records, str, str], Measurement], kind: str, product: str) -> Callable[..., Measurement]:
    return lambda records: measure(records, kind, product)


def _claims() -> list[Claim]:
    """1.1 is the lower end of the abstract's range; a point of accuracy is what it may cost where nothing is to gain.

    The abstract's numbers are for raw products. That of the cosine is this study's question, at the same thresholds.
    """
    found = []
    for letter, product in zip("ab", PRODUCTS, strict=True):
        for number, kind in enumerate(FORMS, start=1):
            statement = f"FedHyper-{kind}, {product}: local rate 10x too low, FedAvg's rounds over its own"
            measure = _bound(speedup, kind, product)
            found.append(Claim(f"{letter}{number}", statement, "abstract", ("",), measure, ">=", 1.1))
    for letter, product in zip("cd", PRODUCTS, strict=True):
        for number, kind in enumerate(FORMS, start=1):
            statement = f"FedHyper-{kind}, {product}: good local rate, final accuracy less FedAvg's"
            measure = _bound(accuracy_gain, kind, product)
            found.append(Claim(f"{letter}{number}", statement, "abstract", ("",), measure, ">=", -0.01))
    return found


CLAIMS = _claims()


def table(records: Records) -> "pd.DataFrame":
    """One row a server and local rate."""
    import pandas as pd

    rows = []
    for rate in (LOW_RATE, GOOD_RATE):
        plain = rounds_to_target(fedavg(records, rate))
        servers = {("FedAvg", ""): fedavg(records, rate)}
        servers |= {(f"FedHyper-{k}", p): form(records, k, p, rate) for p in PRODUCTS for k in FORMS}
        for (name, product), own in servers.items():
            rounds, accuracy = rounds_to_target(own), mean_interval(final_accuracy(own))
            rows.append(
                {
                    "local rate": rate,
                    "server": name,
                    "product": product,
                    "rounds": float(rounds.mean()),
                    "speedup": float(plain.mean() / rounds.mean()),
                    "final accuracy": accuracy.value,
                    "ci low": accuracy.low,
                    "ci high": accuracy.high,
                    "seeds": accuracy.n,
                }
            )
    return pd.DataFrame(rows)
