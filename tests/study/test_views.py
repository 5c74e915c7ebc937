"""What a sweep's table and figure tell apart."""

import dataclasses

import numpy as np
import pandas as pd
import pytest

from lrstudy.study.choices import choice
from lrstudy.study.config import RunConfig, resolve
from lrstudy.study.errors import StudyError
from lrstudy.study.part import Part, axis
from lrstudy.study.records import Records, numbered, runs_frame
from lrstudy.study.views import axis_of, curves_figure, settings, summary, sweep_figure

BASE = RunConfig(
    task=choice("task", "quadratic"),
    schedule=choice("schedule", "WSD", peak=0.02, decay_fraction=0.2),
    optimizer=choice("optimizer", "adamw"),
    steps=40,
)
SEEDS = axis("seed", (0, 1))


def swept(*axes, base=BASE):
    """Records of a sweep as if it had been run; the objective is a number that tells every run apart."""
    runs = [resolve(config) for config in Part(base, axes).configs()]
    rows = []
    for place, run in enumerate(runs):
        facts = {"run_id": run.run_id, "parts": "", "group": "g", "outcome": "ok", "updates": run.config.steps}
        rows.append({**facts, **run.columns, run.task.objective: 1.0 + 0.01 * place})
    ids = [run.run_id for run in runs]
    names = {run.task.objective for run in runs}
    metrics = pd.DataFrame({"run_id": ids, "step": 0, "loss": 1.0, "learning_rate": 0.1, **dict.fromkeys(names, 1.0)})
    return Records(runs_frame(rows), metrics, {}, {"": tuple(ids)})


def drawn(records):
    """The table, after the figures have been drawn without an error."""
    curves_figure(records)
    if axis_of(records) is not None:
        sweep_figure(records)
    return summary(records)


@pytest.mark.parametrize(
    ("axes", "names"),
    [
        ([axis("schedule", ("WSD", "Cosine")), axis("schedule.warmup_steps", (1, 10))], 4),
        ([axis("schedule", ("Cosine", "Linear")), axis("schedule.end", (0.0, 1e-3))], 4),
        ([axis("optimizer", ("adamw", "adam")), axis("optimizer.b1", (0.5, 0.9))], 4),
        ([axis("clip_norm", (None, 1.0)), axis("schedule.peak", (1e-3, 1e-2))], 4),
        ([axis("clip_norm", (None, 0.5, 1.0))], 3),
        ([axis("optimizer.weight_decay", (0.0, 0.1))], 2),
        ([axis("schedule.warmup_steps", (0, 5, 8))], 3),
        ([axis("task.noise", ((0.5, 0.5, 0.5), (0.1, 0.1, 0.1)))], 2),
        ([axis("steps", (40, 80))], 2),
        ([axis("optimizer", ("sgd", "adamw", "momentum"))], 3),
    ],
)
def test_every_setting_has_its_own_row(axes, names):
    table = drawn(swept(*axes, SEEDS))
    assert len(table) == names
    assert (table["seeds"] == 2).all()
    # A mean of the two seeds of one setting, which are neighbours.
    np.testing.assert_allclose(sorted(table["mean"]), 1.005 + 0.02 * np.arange(names), rtol=1e-12)


def test_runs_that_start_from_others_stand_beside_those_that_do_not(tmp_path):
    axes = axis("start", (None, "0123456789abcdef@20")), SEEDS
    found = swept(*axes)
    found.runs.to_parquet(tmp_path / "runs.parquet")  # in which what is missing comes back as NaN
    found = dataclasses.replace(found, runs=pd.read_parquet(tmp_path / "runs.parquet"))
    assert settings(found) == ["start"]
    assert len(drawn(found)) == 2


def test_lists_that_follow_from_the_length_are_no_setting():
    base = dataclasses.replace(BASE, schedule=choice("schedule", "WSDS", peak=0.02))
    records = swept(axis("steps", (40, 80)), SEEDS, base=base)
    assert settings(records) == ["steps"]
    assert len(drawn(records)) == 2


def test_a_text_is_named_by_its_path_alone(tmp_path):
    paths = []
    for name in ("a", "b"):
        path = tmp_path / f"{name}.txt"
        path.write_bytes(name.encode() * 9_000)
        paths.append(str(path))
    base = dataclasses.replace(BASE, task=choice("task", "text", context=16))
    records = swept(axis("task.path", paths), SEEDS, base=base)
    assert settings(records) == ["task.path"]
    assert axis_of(records) is None
    assert len(drawn(records)) == 2


def test_settings_that_four_digits_do_not_tell_apart_have_lines_of_their_own():
    rates, shares = (0.01, 0.02), (0.999, 0.99995, 0.99999)
    table = drawn(swept(axis("optimizer.b2", shares), axis("schedule.peak", rates), SEEDS))
    assert table["setting"].unique().tolist() == ["b2 0.999", "b2 0.99995", "b2 0.99999"]
    np.testing.assert_allclose(table["mean"], 1.005 + 0.02 * np.arange(6), rtol=1e-12)
    tenths = swept(axis("optimizer.weight_decay", (0.1, 0.2)), axis("schedule.peak", rates))
    assert summary(tenths)["setting"].unique().tolist() == ["weight_decay 0.1", "weight_decay 0.2"]


def test_a_dollar_in_a_path_is_drawn_as_one(tmp_path):
    paths = [tmp_path / "$\\foo{$.txt", tmp_path / "$5.txt"]
    for path in paths:
        path.write_bytes(path.name.encode() * 2_000)
    base = dataclasses.replace(BASE, task=choice("task", "text", context=16))
    swept_paths = axis("task.path", list(map(str, paths)))
    records = swept(swept_paths, axis("schedule.peak", (0.01, 0.02)), SEEDS, base=base)
    diverged = dataclasses.replace(records, runs=records.runs.assign(outcome="diverged"))
    for made in (sweep_figure(records), sweep_figure(diverged), curves_figure(records)):
        made.savefig(tmp_path / "drawn.svg")


def test_tasks_are_judged_by_their_own_metric():
    table = drawn(swept(axis("task", ("quadratic", "bigram")), SEEDS))
    assert table["mean"].notna().all()
    assert len(table) == 2


def test_an_optimum_among_values_without_a_logarithm_is_the_best_one():
    table = drawn(swept(axis("optimizer.weight_decay", (0.1, 0.0, 0.2)), SEEDS))
    assert table.set_index("optimizer.weight_decay")["note"].to_dict() == {
        0.0: "", 0.1: "best; fitted optimum 0.1", 0.2: ""
    }  # fmt: skip


def test_what_diverged_has_no_part_in_a_mean_whether_or_not_a_number_was_swept():
    for axes, swept_rows in (((), 1), ((axis("schedule.peak", (0.01, 0.02)),), 2)):
        records = swept(*axes, SEEDS)
        lost = dataclasses.replace(records, runs=records.runs.assign(outcome="diverged"))
        table = summary(lost)
        assert table["mean"].isna().all()
        assert table["diverged"].tolist() == [2] * swept_rows
        one = dataclasses.replace(records, runs=records.runs.assign(outcome=["diverged", "ok"] * swept_rows))
        np.testing.assert_allclose(summary(one)["mean"], 1.01 + 0.02 * np.arange(swept_rows), rtol=1e-12)


def test_of_many_lines_the_best_eight_are_drawn():
    records = swept(axis("schedule.peak", (0.01, 0.02)), axis("optimizer.weight_decay", np.linspace(0, 1, 12).tolist()))
    lines = sweep_figure(records).axes[0].get_legend().get_texts()
    assert [text.get_text().split()[1] for text in lines] == [f"{w:.4g}" for w in np.linspace(0, 1, 12)[:8]]
    assert len(summary(records)) == 24


def test_curves_of_settings_that_diverged_are_not_among_the_best():
    records = swept(axis("schedule.peak", tuple(0.01 * k for k in range(1, 11))))
    outcomes = ["diverged" if place < 2 else "ok" for place in range(len(records.runs))]
    legend = curves_figure(dataclasses.replace(records, runs=records.runs.assign(outcome=outcomes))).legends[0]
    shown = [text.get_text().split()[-1] for text in legend.get_texts()]
    assert shown == [f"{0.01 * k:.4g}" for k in range(3, 11)]


def test_what_is_equal_in_a_column_has_one_number():
    columns = {
        "floats": ([2.0, np.nan, 1.0, 2.0, np.nan], [0, 1, 2, 0, 1]),
        "names": (["b", None, "a", "b", None], [0, 1, 2, 0, 1]),
        "lists": ([[1, 2], None, np.array([1, 3]), np.array([1, 2]), [1, 2]], [0, 1, 2, 0, 0]),
    }
    for values, numbers in columns.values():
        assert numbered(pd.Series(values)).tolist() == numbers
    assert numbered(pd.Series([1, None, 1], dtype="Int64")).tolist() == [0, 1, 0]
    assert numbered(pd.Series([], dtype=float)).tolist() == []


def test_no_runs_no_table():
    records = swept(SEEDS)
    with pytest.raises(StudyError, match="no run has begun"):
        summary(Records(records.runs[:0], records.metrics[:0], {}, {"": ()}))
