import numpy as np
import pandas as pd
import pytest

from lrstudy.study.errors import StudyError
from lrstudy.study.records import Records, runs_frame


def records():
    runs = runs_frame(
        [
            {"run_id": f"r{seed}", "parts": "", "schedule": "Cosine", "seed": seed, "steps": 3, "outcome": "ok",
             "schedule.peak": 0.1, "schedule.total_steps": 3, "excess": 5.0 + seed, "loss": 9.0}
            for seed in (1, 0)
        ]
    )  # fmt: skip
    rows = [
        {"run_id": f"r{seed}", "step": step, "loss": step + 0.5 * seed, "excess": np.nan if step == 1 else 7.0 + step}
        for seed in (0, 1)
        for step in (0, 1, 2)
    ]
    return Records(runs, pd.DataFrame(rows), {}, {"": ("r1", "r0")})


def test_whole_numbers_stay_whole_beside_missing_ones():
    frame = runs_frame([{"a": 1, "b": 1.0, "c": "x"}, {"a": None, "b": None, "c": None}, {}])
    assert str(frame["a"].dtype) == "Int64"
    assert frame["b"].dtype == float
    assert frame["a"].tolist()[0] == 1


def test_a_field_that_is_a_list_in_one_class_and_a_number_in_another_becomes_lists():
    frame = runs_frame([{"noise": [1.0, 2.0]}, {"noise": 3.0}, {}])
    assert frame["noise"].tolist()[:2] == [[1.0, 2.0], [3.0]]


def test_finals_are_by_seed():
    assert records().final("excess").to_dict() == {0: 5.0, 1: 6.0}
    assert records().at_step("loss", 2).to_dict() == {0: 2.0, 1: 2.5}


def test_curves_end_with_the_final_evaluation():
    curve = records().curves("excess")
    assert curve.index.tolist() == [0, 2, 3]
    assert curve.loc[3].to_dict() == {0: 5.0, 1: 6.0}
    assert records().curves("loss").index.tolist() == [0, 1, 2]


def test_where_selects_runs_and_their_rows():
    one = records().where(schedule="Cosine", schedule__peak=0.1, seed=1)
    assert one.runs["run_id"].tolist() == ["r1"]
    assert set(one.metrics["run_id"]) == {"r1"}
    with pytest.raises(StudyError, match="no run has"):
        records().where(schedule="WSD")


def test_a_part_keeps_the_plans_order():
    assert records().part("").runs["run_id"].tolist() == ["r1", "r0"]
    assert len(records().part("absent").runs) == 0


def test_schedules_are_rebuilt():
    schedule = records().schedules["r0"]
    assert (type(schedule).__name__, schedule.total_steps) == ("Cosine", 3)
