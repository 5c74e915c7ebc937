"""The study of hyperparameter laws: what it measures of grids with a known law, and its smoke run."""

import numpy as np
import pandas as pd
import pytest

from experiments import hyperparameter_laws as study
from experiments import hyperparameter_laws_claims as claims
from experiments import hyperparameter_laws_measures as measures
from lrstudy.laws import StepLaw
from lrstudy.study.errors import StudyError
from lrstudy.study.records import Records
from tests.experiments.smoke import smoke_run

LAW = StepLaw(rate_factor=1.0, rate_size=-0.5, rate_tokens=0.1, batch_factor=0.3, batch_tokens=0.6)
WIDTHS, CONTEXT, SEEDS = (16, 32, 64), 32, (1, 2, 3)
STEPS_TOKENS = (65_536, 131_072, 262_144)


def runs(law=LAW, noise=0.0, batch_size_exponent=0.0):
    """A grid whose losses are a bowl around the law's rate and batch in every cell."""
    rng, rows = np.random.default_rng(0), []
    for width in WIDTHS:
        size = 12 * width**2
        for tokens in STEPS_TOKENS:
            rate, batch = (float(x) for x in law.predict(size, tokens))
            batch *= (size / 12_288) ** batch_size_exponent
            for windows in (2**i for i in range(9)):
                for peak in (2.0**-i for i in range(12)):
                    far = np.log(peak / rate) ** 2 + np.log(windows * CONTEXT / batch) ** 2
                    rows += [
                        {
                            "run_id": f"{len(rows)}-{seed}",
                            "seed": seed,
                            "model.width": width,
                            "model.layers": 1,
                            "task.batch_size": windows,
                            "task.context": CONTEXT,
                            "steps": tokens // (windows * CONTEXT),
                            "schedule.peak": peak,
                            "outcome": "ok",
                            "validation_loss": 2 + 0.01 * far + noise * rng.standard_normal(),
                        }
                        for seed in SEEDS
                    ]
    frame = pd.DataFrame(rows)
    return Records(frame, pd.DataFrame({"run_id": frame["run_id"]}), {}, {"grid": tuple(frame["run_id"])})


def measured(claim_id, records):
    (claim,) = [c for c in claims.CLAIMS if c.claim_id == claim_id]
    return claim.measure(records)


def test_a_known_law_is_found_and_costs_no_more_than_a_step_of_the_grid():
    records = runs()
    # A grid of octaves gives the best to half an octave: over 3 sizes 16-fold apart, and 3 lengths fourfold.
    assert measured("a1", records).value == pytest.approx(-0.5, abs=0.25)
    assert measured("a3", records).value == pytest.approx(0.6, abs=0.5)
    # An octave off in both is .01 * 2 * log(2)^2 of 2.
    for claim in ("c1", "c2", "c3"):
        assert measured(claim, records).value <= 0.01 * 2 * np.log(2) ** 2 / 2


def test_a_batch_that_follows_the_size_is_seen():
    assert measured("b1", runs()).value < 0.2
    assert measured("b1", runs(batch_size_exponent=0.7)).value > 0.4


def test_the_law_never_sees_the_cells_that_are_held_out():
    records = runs()
    table = measures.grid(records)
    unseen = measures.held_out(table)
    assert table[unseen].groupby(["N", "D"]).ngroups == 3
    before = measures.fitted(records).law
    size = 12 * records.runs["model.width"] ** 2
    tokens = records.runs["steps"] * records.runs["task.batch_size"] * CONTEXT
    hidden = (size == 12 * 64**2) & (tokens >= 131_072) | (size == 12 * 32**2) & (tokens == 262_144)
    records.runs.loc[hidden, "validation_loss"] = 1 / records.runs.loc[hidden, "schedule.peak"]
    assert measures.fitted(records).law == before
    assert measured("c2", records).value > 1


def test_runs_that_diverged_are_never_best_and_cost_the_law_that_chooses_them():
    records = runs()
    law = measures.fitted(records).law
    table = measures.grid(records)
    rate, _ = law.predict(12 * 64**2, STEPS_TOKENS[-1])
    tokens = records.runs["steps"] * records.runs["task.batch_size"] * CONTEXT
    largest = (records.runs["model.width"] == 64) & (tokens == STEPS_TOKENS[-1])
    high = largest & (records.runs["schedule.peak"] > 0.6 * rate)
    records.runs.loc[high, "outcome"] = "diverged"
    assert measures.grid(records).shape == table.shape
    assert measured("c2", records).value > 1
    records.runs["outcome"] = "diverged"
    with pytest.raises(StudyError, match="StepLaw"):
        measures.fitted(records)


def test_smoke(tmp_path):
    entries = smoke_run(study.EXPERIMENT, tmp_path)
    assert {entry["n"] for entry in entries.values()} == {2}
