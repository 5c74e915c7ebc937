"""Studies that measure sharpness: their configuration, their identity and their records."""

import dataclasses
import json

import numpy as np
import pandas as pd
import pytest

from lrstudy.study import records as records_lib
from lrstudy.study.choices import choice
from lrstudy.study.config import RunConfig, resolve, with_value
from lrstudy.study.dry_run import Costs, describe
from lrstudy.study.errors import ConfigError
from lrstudy.study.part import Part, axis
from lrstudy.study.plan import make_plan
from lrstudy.study.stored import config_from_json, config_to_json
from lrstudy.study.workdir import Workdir
from tests.study.continuing import interrupted, run_of, train
from tests.study.studies import launch
from tests.study.test_command import configs, experiment

PLAIN = RunConfig(
    task=choice("task", "quadratic", chains=1),
    schedule=choice("schedule", "WSD", peak=0.1, decay_fraction=0.5),
    optimizer=choice("optimizer", "sgd"),
    steps=20,
    record_every=5,
)
MEASURED = dataclasses.replace(PLAIN, sharpness=choice("sharpness", "hessian", every=5))


def test_a_run_that_is_not_measured_is_the_run_it_always_was():
    assert not [name for name in resolve(PLAIN).columns if name.startswith("sharpness")]
    never = with_value(PLAIN, "sharpness.every", 0)
    assert resolve(never).run_id == resolve(PLAIN).run_id
    assert resolve(never).sharpness is None


def test_a_measurement_is_part_of_a_runs_identity_and_program():
    columns = resolve(MEASURED).columns
    assert (columns["sharpness.operator"], columns["sharpness.every"]) == ("hessian", 5)
    assert "sharpness" not in columns
    runs = [resolve(PLAIN), resolve(MEASURED), resolve(with_value(MEASURED, "sharpness.tol", 0.01))]
    assert len({run.run_id for run in runs}) == 3
    assert len(make_plan({"": Part(MEASURED, [axis("sharpness.tol", [0.1, 0.01])])}).groups) == 2 * 2


def test_an_argument_alone_means_the_hessian():
    found = with_value(PLAIN, "sharpness.every", 10)
    assert found.sharpness == choice("sharpness", "hessian", every=10)
    [parsed] = configs(experiment(**{"": Part(PLAIN)}), "--config.sharpness.every=10")
    assert parsed.sharpness == choice("sharpness", "hessian", every=10)
    [adam] = configs(experiment(**{"": Part(PLAIN)}), "--config.sharpness=preconditioned", "--config.sharpness.every=5")
    assert adam.sharpness == choice("sharpness", "preconditioned", every=5)


def test_a_stored_configuration_is_the_same_run():
    data = json.loads(json.dumps(config_to_json(MEASURED)))
    assert resolve(config_from_json(data)).run_id == resolve(MEASURED).run_id
    del data["sharpness"]
    assert resolve(config_from_json(data)).run_id == resolve(PLAIN).run_id


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sharpness.every": 7}, r"sharpness\.every must be 0 or a multiple of record_every \(5\), got 7"),
        ({"sharpness.tol": 2.0}, r"sharpness\.tol must be in \[1e-6, 1\), got 2.0"),
        ({"sharpness": "fisher"}, "sharpness must be one of"),
        ({"sharpness.evry": 5}, "did you mean 'every'|one of .*every"),
        ({"sharpness": "preconditioned"}, "sharpness must be hessian for optimizer sgd: .* adam and adamw"),
        # Of several kinds of tensors, and by another root.
        ({"sharpness": "preconditioned", "optimizer": "muon"}, "sharpness must be hessian for optimizer muon"),
        (
            {"sharpness": "preconditioned", "optimizer": "schedule_free_adamw"},
            "sharpness must be hessian for optimizer schedule_free_adamw",
        ),
    ],
)
def test_what_cannot_be_measured_is_refused(changes, message):
    with pytest.raises(ConfigError, match=message):
        config = PLAIN
        for path, value in changes.items():
            config = with_value(config, path, value)
        resolve(config)


def test_adam_under_a_parametrization_is_refused():
    digits = RunConfig(
        task=choice("task", "digits"),
        schedule=choice("schedule", "Constant", peak=0.1),
        optimizer=choice("optimizer", "adam"),
        parametrization=choice("parametrization", "mup", base_width=32),
        sharpness=choice("sharpness", "preconditioned"),
    )
    with pytest.raises(ConfigError, match="sharpness must be hessian under a parametrization"):
        resolve(digits)
    assert resolve(dataclasses.replace(digits, parametrization=None)).sharpness.name == "preconditioned"


def test_the_records_of_a_branch_begin_with_its_trunks_and_hold_its_own(tmp_path):
    own = launch(tmp_path, {"": Part(MEASURED, [axis("seed", [0, 1])])})
    records = records_lib.load(own.workdir)
    runs = records.runs[records.runs["schedule"] == "WSD"]
    np.testing.assert_allclose(runs["sharpness"].to_numpy(float), 1.0, rtol=4e-7)
    rows = records.metrics[records.metrics["run_id"].isin(runs["run_id"])]
    measured = rows[rows["step"] % 5 == 0]
    assert sorted(measured["step"].unique()) == [0, 5, 10, 15]
    np.testing.assert_allclose(measured["sharpness"].to_numpy(float), 1.0, rtol=4e-7)
    assert (measured["hessian_products"] > 0).all()


def test_a_study_that_was_stopped_ends_with_the_same_rows(tmp_path):
    base = dataclasses.replace(MEASURED, schedule=choice("schedule", "Constant", peak=0.1), steps=40)
    train(tmp_path / "whole", base)
    _, step = interrupted(tmp_path / "cut", base)
    assert 0 < step < 40
    train(tmp_path / "cut", base)
    tables = [
        records_lib.load(Workdir(tmp_path / name)).metrics.drop(columns="sharpness_seconds")
        for name in ("whole", "cut")
    ]
    pd.testing.assert_frame_equal(*tables)


@pytest.mark.parametrize("first", [None, MEASURED.sharpness], ids=["not measured before", "measured before"])
def test_a_run_may_start_from_one_that_is_measured_otherwise(tmp_path, first):
    """The state is that of the start; what is measured follows from the run alone."""
    second = None if first else MEASURED.sharpness
    constant = dataclasses.replace(MEASURED, schedule=choice("schedule", "Constant", peak=0.1))
    origin = run_of(train(tmp_path, dataclasses.replace(constant, sharpness=first), checkpoint_steps=10))
    base = dataclasses.replace(constant, sharpness=second, start=f"{origin.run_id}@10")
    own = train(tmp_path, base, "new")
    metrics = records_lib.load(own.workdir).metrics
    rows = metrics[metrics["run_id"] == run_of(own).run_id].set_index("step")
    whole = metrics[metrics["run_id"] == origin.run_id].set_index("step")
    np.testing.assert_array_equal(rows["loss"], whole["loss"])
    measured = rows["sharpness"].dropna()
    assert list(measured.index) == ([0, 5] if first else [10, 15])
    np.testing.assert_allclose(measured.to_numpy(float), 1.0, rtol=4e-7)


def test_a_dry_run_counts_the_measurements():
    constant = dataclasses.replace(MEASURED, schedule=choice("schedule", "Constant", peak=0.1))
    plan = make_plan({"": Part(constant, [axis("seed", [0, 1])])})
    assert [Costs().of(group).measurements for group in plan.groups] == [2 * (20 // 5 + 1)]
    assert "10 measurements of sharpness on top" in describe(plan)
    assert "measurements" not in describe(make_plan({"": Part(PLAIN)}))
