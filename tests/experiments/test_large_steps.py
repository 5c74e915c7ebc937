import numpy as np
import pandas as pd
import pytest

from experiments import large_steps_claims as claims
from experiments import large_steps_measures as measures
from experiments import large_steps_probes as probes
from experiments.large_steps import EXPERIMENT, SCALES
from lrstudy.study.plan import make_plan
from lrstudy.study.records import Records
from tests.experiments.smoke import smoke_run
from tests.study.test_command import configs

CLAIMS = {claim.claim_id: claim for claim in claims.CLAIMS}


@pytest.mark.parametrize("preset", ["smoke", "cpu", "gpu", "paper"])
def test_every_preset_plans_and_decides_all_claims(preset):
    plan = make_plan(EXPERIMENT.presets[preset]())
    assert {part for claim in claims.CLAIMS for part in claim.parts} <= set(plan.parts)
    # The published cells are the table's, plain and normalised; then growth, two examples, random samples and noise.
    assert len(plan.groups) == 8
    assert plan.parts["published"] == plan.parts["table"]
    assert min(SCALES[preset].seeds) > 700


def test_the_tables_examples_have_a_short_flag():
    for name in ("--config.examples=5000", "--config.table.task.examples=5000"):
        assert {c.task.arguments["examples"] for c in configs(EXPERIMENT, name, part="table")} == {5000}
        assert {c.task.arguments.get("examples", 1000) for c in configs(EXPERIMENT, name, part="published")} == {1000}
    swept = configs(EXPERIMENT, "--sweep.examples=10,20", part="table")
    assert {c.task.arguments["examples"] for c in swept} == {10, 20}


def test_thresholds_are_those_of_the_study():
    """Fixed with the study; a change here is a change of the question."""
    expected = {
        **{f"a{i}": ("<=", 0) for i in range(1, 7)},
        **{f"b{i}": ("<=", 1e-6) for i in range(1, 5)}, "b5": ("<=", 1e-3), "b6": ("<", 1),
        "c1": ("<=", 1), "c2": ("<=", 1), "d1": ("<=", 0.1), "d2": ("<=", 0),
        "e1": (">=", 0.85), "e2": ("<=", 0.6), "e3": (">=", 0.3), "e4": ("<=", 0), "e5": (">=", 5),
    }  # fmt: skip
    assert {c.claim_id: (c.comparison, c.threshold) for c in claims.CLAIMS} == expected


def test_the_perceptrons_iterates_are_those_of_the_theorem():
    np.testing.assert_allclose(measures.perceptron_iterates(4), [[0, 0], [0.5, 0.75], [1, 0.25], [1, 0.25]])


def test_a_margin_is_the_distance_of_the_hull_from_the_origin():
    assert probes.margin(np.asarray([[3.0, 0.0], [0.0, 4.0]])) == pytest.approx(12 / 5)
    assert probes.margin(np.asarray([[2.0, 1.0], [2.0, -1.0], [5.0, 0.0]])) == pytest.approx(2.0)


def test_a_run_that_diverged_has_the_accuracy_of_chance():
    runs = pd.DataFrame(
        {
            "run_id": ["a", "b"],
            "seed": [1, 2],
            "outcome": ["ok", "diverged"],
            "test_error": [0.1, 0.0],
            "schedule.peak": [measures.LARGE] * 2,
        }
    )
    records = Records(runs, pd.DataFrame({"run_id": []}), {}, {"benign": ("a", "b")})
    assert measures.test_accuracy(records, measures.LARGE).tolist() == [0.9, measures.CHANCE]


@pytest.fixture(scope="module")
def smoke(tmp_path_factory):
    run = tmp_path_factory.mktemp("large_steps")
    return run, smoke_run(EXPERIMENT, run, "--config.examples=10")


def test_the_smoke_run_decides_what_does_not_need_its_full_length(smoke):
    _, entries = smoke
    # 400 updates are enough for the published table and for all that is exact, not for ten thousand examples.
    for name in ("a1", "a2", "a3", "a4", "a5", "a6", "b1", "b2", "b3", "b4", "b5", "b6", "c1", "c2"):
        assert entries[name]["holds"], entries[name]
    assert entries["d1"]["measured"] is None


def test_the_table_is_that_of_the_examples_asked_for(smoke):
    (path,) = (smoke[0] / "probes").glob("solvers-*.parquet")
    table = pd.read_parquet(path)
    assert set(table["examples"]) == {10}
    assert table["updates"].tolist() == [4, 2, 2, 7, 60, 4, 2]
