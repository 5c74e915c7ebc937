"""What a group's trainer makes of its rows: the same as lane by lane, in one pass over them."""

import dataclasses
import math
import sys

import numpy as np
import pandas as pd
import pytest

from lrstudy.study.choices import choice
from lrstudy.study.part import Part, axis
from lrstudy.study.plan import Branch, Group, make_plan
from lrstudy.study.signals import StopRequest
from lrstudy.study.trainer import GroupTrainer, Settings
from lrstudy.study.workdir import Workdir
from tests.study.studies import BASE

STEPS = range(0, 40, 5)


def trainer(root, count, branches=None):
    """Of a group of so many runs, of which nothing is trained."""
    base = dataclasses.replace(BASE, schedule=choice("schedule", "Cosine", peak=1.0))
    (group,) = make_plan({"": Part(base, [axis("seed", range(count))])}).groups
    group = Group(group.runs, group.part, branches)
    return GroupTrainer(group, Workdir(root), Settings(), StopRequest()), group


def rows_of(names, steps=STEPS):
    """Numbers that tell rows apart, some of them none."""
    frame = pd.DataFrame([(name, step) for name in names for step in steps], columns=["run_id", "step"])
    for column, name in enumerate(("loss", "grad_norm_l2", "sharpness")):
        values = np.random.default_rng(column).normal(size=len(frame)).astype(np.float32)
        values[column::7], values[column::11] = np.nan, np.inf
        frame[name] = values
    return frame


def pandas_calls(function, *arguments):
    """How often pandas called functions of its own or was called."""
    count = 0

    def profile(frame, event, argument):
        nonlocal count
        del argument
        count += event == "call" and "pandas" in frame.f_code.co_filename

    sys.setprofile(profile)
    try:
        found = function(*arguments)
    finally:
        sys.setprofile(None)
    return found, count


def lane_by_lane(frame, run_id):
    """The last finite number of every metric, or none."""
    own = frame[frame["run_id"] == run_id]
    finite = {name: [v for v in own[name] if math.isfinite(v)] for name in own.columns[2:]}
    return {name: float(values[-1]) if values else math.nan for name, values in finite.items()} if len(own) else {}


def outcomes(root, count):
    """The second run has no rows, the third died, the evaluation of the fourth is none, the fifth was stopped."""
    own, group = trainer(root, count)
    names = [run.run_id for run in group.runs]
    frame = rows_of([names[0], *names[2:]])
    frame.loc[frame["run_id"] == names[0], "sharpness"] = np.nan
    lane = frame["run_id"].map({name: lane for lane, name in enumerate(names)}).to_numpy()
    own._store.write_rows({"lane": lane, **{n: frame[n].to_numpy() for n in frame.columns[1:]}}, 0, 40)
    own._store.note_stopped({10: [names[4]]}, "network")
    alive = np.arange(count) != 2
    lanes = np.flatnonzero(alive)[::-1]
    excess = np.where(lanes == 3, np.nan, 0.5 + lanes).astype(np.float32)
    finals = {"lane": lanes, "excess": excess, "loss": excess + 1}
    found, calls = pandas_calls(own._outcomes, alive, np.arange(count) + 10, finals)
    return found, calls, frame, names


def test_the_last_finite_numbers_of_every_run(tmp_path):
    found, _, frame, names = outcomes(tmp_path, 7)
    assert [own.outcome for own in found] == ["ok", "ok", "diverged", "diverged", "stopped", "ok", "ok"]
    assert [own.updates for own in found] == [*range(10, 17)]
    for lane, (own, name) in enumerate(zip(found, names, strict=True)):
        final = {"excess": 0.5 + lane, "loss": 1.5 + lane} if own.outcome == "ok" else {}
        expected = {} if own.outcome == "stopped" else {**lane_by_lane(frame, name), **final}
        assert own.metrics == pytest.approx(expected, rel=0, abs=0, nan_ok=True)
        assert all(type(value) is float for value in own.metrics.values())


def test_of_no_rows_and_no_evaluation_there_are_no_metrics(tmp_path):
    own, _ = trainer(tmp_path, 2)
    found = own._outcomes(np.asarray([True, False]), np.asarray([40, 3]), {})
    assert [(o.outcome, o.updates, o.metrics) for o in found] == [("ok", 40, {}), ("diverged", 3, {})]


def branched(root, count):
    """Runs that start from three others, of which one has no rows, among rows of runs that nobody starts from."""
    starts = [Branch(f"trunk {lane % 3}", 10 + 5 * (lane % 5)) for lane in range(count)]
    own, group = trainer(root, count, tuple(starts))
    frame = rows_of(["trunk 1", "another", "trunk 0"], range(30)).sample(frac=1, random_state=0)
    frame = frame.sort_values(["run_id", "step"], ignore_index=True)
    _, calls = pandas_calls(own._copy_trunk_rows, frame)
    return own._store.rows(), calls, frame, group


def test_a_branch_has_the_rows_of_its_trunk_before_it(tmp_path):
    found, _, frame, group = branched(tmp_path, 7)
    expected = []
    for run, branch in zip(group.runs, group.branches, strict=True):
        mine = frame[(frame["run_id"] == branch.run_id) & (frame["step"] < branch.step) & (frame["step"] % 5 == 0)]
        expected.append(mine.assign(run_id=run.run_id))
    expected = pd.concat(expected).sort_values(["run_id", "step"], ignore_index=True)
    pd.testing.assert_frame_equal(found, expected, check_exact=True)


@pytest.mark.parametrize("made", [outcomes, branched])
def test_as_many_passes_over_the_rows_for_many_lanes_as_for_few(tmp_path, made):
    made(tmp_path / "first", 6)  # pandas keeps some of what it makes at first
    _, few, *_ = made(tmp_path / "few", 6)
    _, many, *_ = made(tmp_path / "many", 60)
    assert many < few + 54
