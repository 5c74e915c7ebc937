"""Studies that stop runs early: what is refused, who races whom, and what becomes of those that lose."""

import dataclasses
import json

import jax
import numpy as np
import pandas as pd
import pytest

from lrstudy.study import records as records_lib
from lrstudy.study.choices import choice
from lrstudy.study.config import RunConfig, resolve, with_value
from lrstudy.study.early_stop import points_of, race_of, rivals_at, settled_at
from lrstudy.study.errors import ConfigError, StudyError
from lrstudy.study.part import Part, axis
from lrstudy.study.plan import make_plan
from lrstudy.study.store import GroupStore
from lrstudy.study.stored import config_from_json, config_to_json
from lrstudy.study.trainer import GroupTrainer
from lrstudy.study.views import summary
from lrstudy.study.workdir import Workdir
from tests.laws.extrapolation.test_racing import Stays
from tests.study.continuing import train
from tests.study.studies import concluded, launch
from tests.study.test_command import configs, experiment
from tests.study.test_main import sweep

PLAIN = RunConfig(
    task=choice("task", "bigram"),
    schedule=choice("schedule", "Constant", peak=1.0),
    optimizer=choice("optimizer", "momentum"),
    steps=40,
    record_every=2,
    evaluate_every=4,
)
EARLY = dataclasses.replace(PLAIN, early_stop=choice("early_stop", "predictive"))
PEAKS = (0.25, 0.5, 1.0, 2.0)
RACE = {"": Part(EARLY, [axis("schedule.peak", PEAKS), axis("seed", [0, 1])])}
FIRST = 5
"""Updates at the first decision: one point, evaluated after four, at the beginning of the fifth."""


def stays():
    return Stays(1e-3)


def never():
    raise AssertionError("nothing is to be decided")


def rows_of(root):
    return records_lib.load(Workdir(root)).metrics


def test_a_run_that_is_not_stopped_early_is_the_run_it_always_was():
    plain, early = resolve(PLAIN), resolve(EARLY)
    assert not [name for name in plain.columns if name.startswith("early_stop")]
    assert plain.run_id != early.run_id
    assert (early.columns["early_stop"], early.columns["early_stop.risk"]) == ("predictive", 0.05)
    data = json.loads(json.dumps(config_to_json(EARLY)))
    assert resolve(config_from_json(data)).run_id == early.run_id
    [parsed] = configs(experiment(**{"": Part(PLAIN)}), "--config.early_stop.best=0.5")
    assert parsed.early_stop == choice("early_stop", "predictive", best=0.5)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"early_stop": "predictve"}, "did you mean 'predictive'|early_stop must be one of"),
        ({"early_stop.risk": 2.0}, r"early_stop.risk must be in \(0, 1\), got 2.0"),
        ({"evaluate_every": 0}, r"at least 10 evaluations: evaluate_every in \[1, 4\], got 0"),
        ({"evaluate_every": 6}, r"at least 10 evaluations: evaluate_every in \[1, 4\], got 6"),
        ({"schedule": "WSD"}, "early_stop needs a schedule that decays before its end: .* got WSD"),
        ({"optimizer": "hypergradient"}, "an optimizer that applies the rates that it is given, got hypergradient"),
        (
            {"schedule": choice("schedule", "Tabulated", values=(1.0,) * 9 + (0.0,))},
            "early_stop needs a schedule that decays before its end: .* got Tabulated",
        ),
    ],
)
def test_what_cannot_be_foreseen_is_refused(changes, message):
    with pytest.raises(ConfigError, match=message):
        config = EARLY
        for path, value in changes.items():
            config = with_value(config, path, value)
        resolve(config)


@pytest.mark.parametrize("schedule", ["Cosine", "Linear", "Constant"])
def test_schedules_that_decay_all_along_are_not_refused(schedule):
    assert resolve(with_value(EARLY, "schedule", choice("schedule", schedule, peak=1.0))).early_stop is not None


def test_points_are_evaluations_and_the_end():
    assert points_of(resolve(EARLY)).tolist() == [4, 8, 12, 16, 20, 24, 28, 32, 36, 40]
    odd = points_of(resolve(dataclasses.replace(EARLY, steps=42)))
    assert odd.tolist()[-2:] == [40, 42]
    many = points_of(resolve(dataclasses.replace(EARLY, steps=1000)))
    assert (len(many), many[0], many[-1]) == (100, 12, 1000)
    assert (np.diff(many) > 0).all()
    assert (many % 4 == 0).all()


def test_runs_race_that_differ_in_how_they_are_trained():
    own = race_of(resolve(EARLY))
    for path, value in (("optimizer.momentum", 0.5), ("optimizer", "sgd"), ("schedule.peak", 3.0), ("clip_norm", 1.0)):
        assert race_of(resolve(with_value(EARLY, path, value))) == own
    for path, value in (("seed", 1), ("steps", 80), ("task.batch_size", 8), ("schedule", "Cosine")):
        assert race_of(resolve(with_value(EARLY, path, value))) != own


def test_while_rates_fall_only_what_falls_as_far_is_a_rival():
    falling = with_value(EARLY, "schedule", choice("schedule", "Linear", peak=1.0))
    runs = [resolve(with_value(falling, "schedule.peak", peak)) for peak in (0.5, 1.0)]
    runs.append(resolve(with_value(falling, "optimizer.momentum", 0.5)))
    assert rivals_at(runs, 5).tolist() == [[True, True, False], [False, True, False], [False, False, True]]
    steady = [resolve(with_value(EARLY, "schedule.peak", peak)) for peak in (0.5, 1.0)]
    steady.append(resolve(with_value(EARLY, "optimizer.momentum", 0.5)))
    assert rivals_at(steady, 5).all()


def test_what_rises_or_has_just_risen_is_let_alone():
    warmed = resolve(with_value(EARLY, "schedule.warmup_steps", 10))
    assert [settled_at(warmed, step) for step in (5, 17, 21, 33)] == [False, False, True, True]
    assert settled_at(resolve(EARLY), 5)
    cycles = with_value(EARLY, "schedule", choice("schedule", "CyclicCosine", peak=1.0, ends=(20, 40)))
    assert [settled_at(resolve(cycles), step) for step in (5, 17, 33)] == [False, False, True]


def test_a_long_warmup_is_not_held_against_a_run(tmp_path):
    axes = [axis("schedule.peak", [1.0, 2.0]), axis("schedule.warmup_steps", [0, 30])]
    own = launch(tmp_path, {"": Part(EARLY, axes)}, predictor=stays)
    runs = records_lib.load(own.workdir).runs.set_index(["schedule.warmup_steps", "schedule.peak"])["outcome"]
    assert runs[30].tolist() == ["ok", "ok"]
    assert sorted(runs[0]) == ["ok", "stopped"]


def test_losers_stop_and_the_others_are_what_they_would_have_been(tmp_path):
    own = launch(tmp_path / "early", RACE, predictor=stays)
    plain = {"": Part(PLAIN, RACE[""].axes)}
    launch(tmp_path / "plain", plain)
    found, whole = (records_lib.load(Workdir(tmp_path / name)) for name in ("early", "plain"))
    keys = ["schedule.peak", "seed"]
    both = found.runs.merge(whole.runs, on=keys, suffixes=("", "_whole"))
    lost = both["outcome"] == "stopped"
    assert lost.sum() == 2 * (len(PEAKS) - 1)
    assert both["outcome"][~lost].tolist() == ["ok"] * 2
    assert (both["updates"][lost] == FIRST).all()
    assert both["excess"][lost].isna().all()
    np.testing.assert_array_equal(both["excess"][~lost], both["excess_whole"][~lost])
    for run_id, other in both[["run_id", "run_id_whole"]].to_numpy():
        rows = found.metrics[found.metrics["run_id"] == run_id].drop(columns="run_id")
        same = whole.metrics[whole.metrics["run_id"] == other].drop(columns="run_id")
        pd.testing.assert_frame_equal(
            rows.reset_index(drop=True), same[: len(rows)].reset_index(drop=True), check_exact=True
        )
    assert own.lines == ["bigram Constant x 8: 6 of 8 runs are not likely to end best and stop at step 5"]


class Counted(Stays):
    """Notes how much it was shown."""

    def __init__(self, asked):
        super().__init__(0.05)
        self.asked = asked

    def predict(self, prefix):
        self.asked.append(len(prefix))
        return super().predict(prefix)


def test_a_decision_is_taken_once(tmp_path):
    """Stopped by a signal after every call, and resumed: the rows and outcomes of a launch that was left alone."""
    whole, cut = [], []
    launch(tmp_path / "whole", RACE, predictor=lambda: Counted(whole))
    for _ in range(40):
        own = train(tmp_path / "cut", EARLY, stop=True, axes=RACE[""].axes, predictor=lambda: Counted(cut))
        if not own.missing():
            break
    assert not own.missing()
    pd.testing.assert_frame_equal(rows_of(tmp_path / "whole"), rows_of(tmp_path / "cut"))
    runs = [records_lib.load(Workdir(tmp_path / name)).runs for name in ("whole", "cut")]
    pd.testing.assert_frame_equal(*runs)
    assert whole == cut
    assert whole[: 2 * len(PEAKS)] == [1] * 2 * len(PEAKS)


def test_a_decision_that_was_noted_stands(tmp_path, monkeypatch):
    """Killed between the note and the checkpoint: the launch after it decides nothing, and ends as if undisturbed."""
    launch(tmp_path / "whole", RACE, predictor=stays)
    with monkeypatch.context() as patch:
        patch.setattr(GroupTrainer, "_save", lambda *_: (_ for _ in ()).throw(KeyError("killed")))
        with pytest.raises(KeyError, match="killed"):
            launch(tmp_path / "cut", RACE, predictor=stays)
    launch(tmp_path / "cut", RACE, begun=None, predictor=never)
    pd.testing.assert_frame_equal(rows_of(tmp_path / "whole"), rows_of(tmp_path / "cut"))


def test_states_are_computed_again_with_the_same_decisions(tmp_path):
    """Its checkpoint gone, a state is made anew; a run that was stopped has none beyond, and says so."""
    own = launch(tmp_path, RACE, predictor=stays)
    (group,) = own.plan.groups
    ended = {run.columns["schedule.peak"]: run.run_id for run in group.runs if run.config.seed == 0}
    runs = records_lib.load(own.workdir).runs.set_index("run_id")["outcome"]
    winner = next(run_id for run_id in ended.values() if runs[run_id] == "ok")
    loser = next(run_id for run_id in ended.values() if runs[run_id] == "stopped")
    whole = next(run for run in group.runs if run.run_id == winner)
    longer = dataclasses.replace(whole.config, steps=60, early_stop=None, start=f"{winner}@20")
    train(tmp_path, longer, "new", predictor=never)
    with pytest.raises(StudyError, match=f"run {loser} has no state at step 20: it was stopped at 5"):
        train(tmp_path, dataclasses.replace(longer, start=f"{loser}@20"), "new", predictor=never)


def test_every_program_is_a_race_of_its_own(tmp_path):
    """So that a decision does not depend on what has finished elsewhere: two optimizers, in either order."""
    axes = [axis("optimizer", ["momentum", "sgd"]), axis("schedule.peak", [0.05, 1.0])]
    found = []
    for name, places in (("one", (1, 2)), ("other", (2, 1))):
        for place in places:
            own = launch(tmp_path / name, {"": Part(EARLY, axes)}, shard=(place, 2), begun=None, predictor=stays)
        runs = records_lib.load(own.workdir).runs.set_index(["optimizer", "schedule.peak"])
        found.append(runs["outcome"].to_dict())
    assert found[0] == found[1]
    assert {key for key, outcome in found[0].items() if outcome == "stopped"} == {("momentum", 0.05), ("sgd", 0.05)}


@pytest.mark.parametrize(
    ("noted", "fails"), [({"5": ["nobody"]}, True), ({"5": 5}, True), ([1], True), ({"5": []}, False)]
)
def test_a_note_that_is_damaged_is_said(tmp_path, noted, fails):
    group = make_plan(RACE).groups[0]
    store = GroupStore(Workdir(tmp_path), group)
    store.note_stopped({5: [group.runs[0].run_id]}, "a network")
    assert store.stopped() == {5: [group.runs[0].run_id]}
    path = tmp_path / "groups" / f"{group.group_id}.json"
    data = json.loads(path.read_text())
    assert data["network"] == "a network"
    path.write_text(json.dumps({**data, "stopped": noted}))
    if fails:
        with pytest.raises(StudyError, match="is damaged: 'stopped' must be steps with runs of the group"):
            store.stopped()
    else:
        assert store.stopped() == {5: []}


def test_a_command_whose_runs_all_lost_says_so(tmp_path):
    launch(tmp_path, RACE, predictor=stays)
    lost = {"": Part(EARLY, [axis("schedule.peak", PEAKS[:1]), axis("seed", [0, 1])])}
    with pytest.raises(StudyError, match="all runs that were asked for were stopped early, against rivals"):
        concluded(tmp_path, chosen=lost, begun=None, predictor=never)


def test_stopping_compiles_nothing_again(tmp_path, caplog):
    with jax.log_compiles(), caplog.at_level("WARNING"):
        launch(tmp_path, RACE, predictor=stays)
    finished = [r.getMessage() for r in caplog.records if "Finished XLA compilation of jit(mapped)" in r.getMessage()]
    assert len(finished) == 1


def test_the_summary_counts_what_was_stopped(tmp_path):
    own, _ = concluded(tmp_path, chosen=RACE, predictor=stays)
    found = summary(records_lib.load(own.workdir)).set_index("schedule.peak")
    winner = found["mean"].idxmin()
    assert found["stopped"].to_dict() == {peak: 0 if peak == winner else 2 for peak in PEAKS}
    assert found["standard error"].dropna().index.tolist() == [winner]
    assert found["mean"].dropna().index.tolist() == [winner]
    assert found["note"][winner] == "best of those that no seed stopped"
    assert "stopped" in (tmp_path / "report.html").read_text()


def test_without_the_network_nothing_is_trained(tmp_path):
    done = sweep(
        tmp_path / "run",
        "--preset=smoke",
        "--config.task=bigram",
        "--config.schedule=Constant",
        "--config.evaluate_every=1",
        "--config.record_every=1",
        "--config.early_stop=predictive",
        XDG_CACHE_HOME=str(tmp_path / "empty"),
    )
    assert done.returncode == 1
    assert done.stderr.strip().splitlines()[-1].startswith("error: there is no trained extrapolator in")
    assert "python -m lrstudy.study.extrapolator" in done.stderr
    assert not (tmp_path / "run" / "metrics").exists()
