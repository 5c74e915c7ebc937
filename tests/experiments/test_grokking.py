"""The study of grokking: what it measures of curves that are known, and its smoke run."""

import numpy as np
import pandas as pd
import pytest

from experiments import grokking_claims as claims
from experiments import grokking_measures as measures
from experiments.grokking import EXPERIMENT, SCALES
from experiments.grokking_measures import DECAY, PERP, PLAIN, WRONG
from lrstudy.study.errors import StudyError
from lrstudy.study.plan import make_plan
from lrstudy.study.records import Records
from tests.experiments.smoke import smoke_run

CLAIMS = {claim.claim_id: claim for claim in claims.CLAIMS}
STEPS = (0, 50, 100, 150)
SHAPES = {PERP: (0.01, 0.3, 0.95, 1.0), PLAIN: (0.01, 1.0, 1.0, 1.0)}


@pytest.mark.parametrize("preset", SCALES)
def test_every_preset_plans_and_decides_all_claims(preset):
    plan = make_plan(EXPERIMENT.presets[preset]())
    assert {part for claim in claims.CLAIMS for part in claim.parts} == set(plan.parts)
    # Two optimizers, briefly, at other rates and for long, in the smoke run no longer than at other rates; StableMax;
    # two shares of wrong results, decays as lanes.
    assert len(plan.groups) == (7 if preset == "smoke" else 9)
    seeds = SCALES[preset].seeds
    assert (max(seeds) < 10) if preset == "smoke" else (min(seeds) > 1800)
    for run in plan.runs().values():
        # The whole table in one batch.
        assert run.task.tokens_per_step() == len(run.task.load()["train_pairs"])


def test_thresholds_are_those_of_the_study():
    """Fixed with the study; a change here is a change of the question."""
    expected = {
        "a1": (">=", 0.99), "a2": ("<", 0.01), "a3": (">=", 1), "a4": ("<", 0.01), "a5": ("<=", 50),
        "a6": ("<", 0.01), "a7": (">=", 0.99),
        "b1": (">=", 0.25), "b2": ("<=", 0), "b3": ("<=", 0), "b4": ("<", 0.01), "b5": ("<=", 0), "b6": ("<", 0.9),
        "b7": (">=", 0.99),
        "c1": (">=", 1), "c2": (">=", 0.9), "c3": ("<=", 0), "c4": ("<=", 0), "c5": ("<", 0.9), "c6": (">=", 0.99),
        "d1": ("<=", 0.02), "d2": (">=", 0.99), "d3": (">=", 0.99), "d4": (">=", 1), "d5": (">=", 0.8),
    }  # fmt: skip
    assert {c.claim_id: (c.comparison, c.threshold) for c in claims.CLAIMS} == expected


def run(part, seed, *, train, test, collapsed=(0, 0, 0, 0), pull=None, **columns):
    """One run's row and its curves; the last value stands after the last update."""
    run_id = f"{part}-{seed}-{'-'.join(map(str, columns.values()))}"
    curves = {
        "train_accuracy": train,
        "validation_accuracy": test,
        "softmax_collapse": collapsed,
        "zero_pull": collapsed if pull is None else pull,
        "zero_loss": collapsed,
    }
    row = {"run_id": run_id, "part": part, "seed": seed, "outcome": "ok", "steps": 200, "task.modulus": 7, **columns}
    rows = [{"run_id": run_id, "step": step, "loss": 1 / (1 + step)} for step in STEPS]
    rows = [r | {name: float(values[i]) for name, values in curves.items()} for i, r in enumerate(rows)]
    return row | {name: float(values[-1]) for name, values in curves.items()}, rows


def records_of(runs):
    frame = pd.DataFrame([row for row, _ in runs])
    parts = {part: tuple(own["run_id"]) for part, own in frame.groupby("part")}
    return Records(frame, pd.DataFrame([r for _, rows in runs for r in rows]), {}, parts)


@pytest.fixture
def optimizers():
    """Both optimizers on three seeds; the third collapses most."""
    return records_of(
        [
            run(part, seed, train=SHAPES[name], test=SHAPES[name] if name == PERP else (0.01,) * 4, optimizer=name,
                collapsed=(0, 0, 0.1 * seed, 0.05) if name == PLAIN else (0,) * 4)
            for part in ("early", "collapse")
            for name in (PERP, PLAIN)
            for seed in (1, 2, 3)
        ]
    )  # fmt: skip


def test_what_is_reached_and_when(optimizers):
    own = measures.optimized(optimizers, "early", PERP)
    assert measures.reached(own, "validation_accuracy").tolist() == [150] * 3
    assert measures.reached(own, "validation_accuracy", 0.2).tolist() == [50] * 3
    plain = measures.optimized(optimizers, "early", PLAIN)
    assert np.isnan(measures.reached(plain, "validation_accuracy")).all()
    assert measures.at(own, "train_accuracy", 100).tolist() == [0.95] * 3
    with pytest.raises(StudyError, match="step 60"):
        measures.at(own, "train_accuracy", 60)
    assert CLAIMS["a1"].decide(optimizers)["holds"]
    assert CLAIMS["a5"].decide(optimizers)["measured"] == 0
    assert not CLAIMS["a2"].decide(optimizers)["holds"]


def test_the_largest_share_counts_whenever_it_was(optimizers):
    plain = measures.optimized(optimizers, "collapse", PLAIN)
    np.testing.assert_allclose(measures.most(plain, "softmax_collapse"), [0.1, 0.2, 0.3])
    # 1 / 151 over 1 / 101.
    np.testing.assert_allclose(measures.still_falling(plain), 101 / 151)
    assert CLAIMS["b5"].decide(optimizers)["measured"] == 0


@pytest.mark.parametrize(("train", "difference"), [((0, 1, 1, 1), 0.3), ((0, 1, 0.9, 1), 0.0)])
def test_a_collapsed_pair_that_pulls_counts_where_none_is_misclassified(train, difference):
    one = run(
        "collapse", 1, train=train, test=train, collapsed=(0, 0, 0.5, 0.1), pull=(0, 0, 0.2, 0.1), optimizer=PLAIN
    )
    assert measures.pulled_though_collapsed(records_of([one])).value == pytest.approx(difference)


@pytest.mark.parametrize(("steps", "settled"), [(1_000, False), (80_000, True)])
def test_a_short_run_with_stablemax_settles_nothing(steps, settled):
    records = records_of([run("stablemax", s, train=(0, 1, 1, 1), test=(0, 0, 0, 0.2), steps=steps) for s in (1, 2)])
    entry = CLAIMS["c6"].decide(records)
    assert entry["measured"] == 0.2
    assert not entry["holds"]
    assert (entry["ci_high"] == 0.2) == settled


def test_the_worst_share_of_wrong_results_decides():
    ends = {(0.1, DECAY): 0.91, (0.2, DECAY): 0.85, (0.1, 0.0): 1.0, (0.2, 0.0): 1.0}
    runs = [
        run("corrupted", seed, train=(0, 1, 1, end), test=(0, 0, 0, 1 - share if decay else 0.05),
            **{"task.corrupted": share, "optimizer.weight_decay": decay})
        for (share, decay), end in ends.items()
        for seed in (1, 2)
    ]  # fmt: skip
    records = records_of(runs)
    assert {share for share, _ in ends} == set(WRONG)
    found = {name: CLAIMS[name].measure(records).value for name in ("d1", "d2", "d3", "d4", "d5")}
    assert found == pytest.approx({"d1": 0.05, "d2": 0.8, "d3": 1.0, "d4": 1.0, "d5": 0.75})


def test_smoke(tmp_path):
    entries = smoke_run(EXPERIMENT, tmp_path)
    assert {entry["n"] for entry in entries.values()} == {2}
    # What a table of 121 pairs has in common with one of 12,769: it is learnt by heart.
    assert entries["a3"]["holds"], entries["a3"]
