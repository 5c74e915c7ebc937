"""What is a curve and what is not."""

import json

import numpy as np
import pandas as pd
import pytest

from lrstudy.laws import AnnealingLaw, Curve, LawError, read_curves
from lrstudy.schedules import Cosine

STEPS = np.arange(0, 100, 10)
SCHEDULE = Cosine(1e-3, 100, warmup_steps=10)
RATES = np.asarray(SCHEDULE(STEPS))
LOSSES = 3 - STEPS / 100


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"losses": np.where(STEPS == 30, np.nan, LOSSES)}, "losses must be finite, got 'nan at row 3'"),
        ({"losses": np.where(STEPS == 30, 0, LOSSES)}, "losses must be above 0, got '0 at step 30'"),
        ({"losses": LOSSES[1:]}, "losses must be 10 numbers, one a step, got 9"),
        ({"learning_rates": -RATES}, "learning_rates must be at least 0"),
        ({"steps": STEPS[::-1]}, "steps must be rising, each once, got '80 after 90 at row 1'"),
        ({"steps": np.where(STEPS == 30, 20, STEPS)}, "steps must be rising, each once, got '20 after 20 at row 3'"),
        ({"steps": STEPS + 0.5}, "steps must be at least two whole numbers"),
        ({"steps": "many"}, "steps must be a sequence of numbers"),
        ({"learning_rates": RATES * 1.01}, "learning_rates must be the schedule's, got 0.00101 at step 10"),
        ({"schedule": RATES}, "schedule must have the rate of step 90, got 10 rates"),
        ({"schedule": "cosine"}, "schedule must be a schedule, or a sequence of finite rates"),
        ({"warmup_steps": 90}, r"warmup_steps must be an int in \[0, 90\), got 90"),
    ],
)
def test_what_is_no_curve(changed, message):
    given = {"steps": STEPS, "learning_rates": RATES, "losses": LOSSES, "schedule": SCHEDULE} | changed
    with pytest.raises(LawError, match=message):
        Curve(**given)


def test_rates_without_a_schedule_are_interpolated_and_it_is_said():
    curve = Curve(STEPS[1:], RATES[1:], LOSSES[1:])
    with pytest.warns(UserWarning, match="interpolated"):
        rates = curve.rates
    assert len(rates) == 91
    np.testing.assert_allclose(rates[:10], RATES[1])
    np.testing.assert_allclose(rates[15], (RATES[1] + RATES[2]) / 2)


def test_an_unlogged_warmup_rises_linearly():
    curve = Curve(STEPS[2:], RATES[2:], LOSSES[2:], warmup_steps=10)
    with pytest.warns(UserWarning, match="interpolated"):
        rates = curve.rates
    np.testing.assert_allclose(rates[:11], RATES[2] * np.arange(11) / 10)
    np.testing.assert_allclose(rates[10:21], RATES[2])


def test_rows_of_the_warmup_are_left_out():
    curve = Curve(STEPS, RATES, LOSSES, schedule=SCHEDULE, warmup_steps=10)
    assert curve.after_warmup().steps.tolist() == STEPS[1:].tolist()
    assert curve.between(20, 50).steps.tolist() == [20, 30, 40, 50]
    assert curve.between(20).steps[-1] == 90


def test_warmup_conventions():
    path = Curve(STEPS, RATES, LOSSES, schedule=SCHEDULE, warmup_steps=10).path
    true, constant = path("true"), path("constant")
    assert (true.drops[:11] == 0).all()
    np.testing.assert_array_equal(true.drops, constant.drops)
    # The rise is a line from 0, whose sum lacks half of the peak a step, and a half more at its start.
    np.testing.assert_allclose((constant.sums - true.sums)[10:], 1e-3 * 5.5, rtol=1e-6)


def write(table, path):
    if path.suffix == ".csv":
        table.to_csv(path, index=False)
    elif path.suffix == ".parquet":
        table.to_parquet(path)
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in table.to_dict("records")))


@pytest.fixture
def table():
    return pd.DataFrame({"step": STEPS, "lr": RATES.astype(float), "loss": LOSSES})


@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".jsonl"])
def test_reading(table, tmp_path, suffix):
    write(table, tmp_path / f"one{suffix}")
    (curve,) = read_curves(tmp_path / f"one{suffix}", schedules={"one": SCHEDULE}).values()
    np.testing.assert_array_equal(curve.steps, STEPS)
    np.testing.assert_allclose(curve.losses, LOSSES, rtol=1e-15)


def test_reading_a_folder_and_a_file_of_many_runs(table, tmp_path):
    write(table, tmp_path / "b.csv")
    write(pd.concat([table.assign(run="c"), table.assign(run="a")]), tmp_path / "many.csv")
    assert list(read_curves(tmp_path)) == ["b", "a", "c"]


def test_rows_past_the_end_of_a_schedule(table, tmp_path):
    write(table, tmp_path / "one.csv")
    short = np.asarray(SCHEDULE(np.arange(90)))
    with pytest.raises(LawError, match=r"one\.csv', one: law: schedule must have the rate of step 90, got 90 rates"):
        read_curves(tmp_path, schedules={"one": short})
    assert read_curves(tmp_path, schedules={"one": short}, drop_late=True)["one"].steps[-1] == 80


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", "step,loss\n1,2\n", "has no column lr; it has step, loss"),
        ("a.csv", "", "cannot be read as a table"),
        ("a.parquet", "nonsense", "cannot be read as a table"),
        ("a.txt", "step", "holds no file that ends in"),
        ("a.csv", "step,lr,loss\n1,1,1\n1,1,1\n", "a.csv', a: Curve: steps must be rising"),
        ("a.csv", "step,lr,loss\n1,1,x\n2,1,1\n", "a.csv', a: Curve: losses must be a sequence of numbers"),
    ],
)
def test_files_that_hold_no_curve(tmp_path, name, content, message):
    (tmp_path / name).write_text(content)
    with pytest.raises(LawError, match=message):
        read_curves(tmp_path)


def test_no_file_and_no_such_curve(table, tmp_path):
    with pytest.raises(LawError, match="cannot be read"):
        read_curves(tmp_path / "none.csv")
    write(table, tmp_path / "one.csv")
    with pytest.raises(LawError, match="has no curve two, for which there is a schedule; it has one"):
        read_curves(tmp_path, schedules={"two": SCHEDULE})


@pytest.mark.parametrize("given", [{}, [3], {"a": 3}])
def test_what_are_no_curves(given):
    with pytest.raises(LawError, match="curves must be one or more Curve"):
        AnnealingLaw.fit(given)
