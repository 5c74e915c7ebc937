"""AutoLRS over the engine's lanes: what is compiled, which rate is applied, and what a kill leaves behind."""

import dataclasses
import functools

import jax
import numpy as np
import pytest

from lrstudy.optimizers import TABLE
from lrstudy.study.autolrs import control
from lrstudy.study.autolrs_lanes import LaneTraining, make_engine
from lrstudy.study.autolrs_stages import Settings, found_schedule, updates_spent
from lrstudy.study.config import make_transform
from lrstudy.study.errors import ConfigError
from lrstudy.training import checkpoint, lanes
from tests.training.problems import run_of

SETTINGS = Settings(0.3, 10.0, 150, search_steps=5, candidates=5, max_stage_steps=50, seed=3)


def bigram(optimizer="momentum", seed=0):
    return run_of("bigram", optimizer=optimizer, schedule=("Constant", {"peak": 1.0}), steps=150, seed=seed)


@pytest.fixture(scope="module")
def engine():
    return make_engine(bigram())


@pytest.fixture(scope="module")
def whole(engine):
    return control(SETTINGS, LaneTraining(bigram(), engine))


def params_of(state):
    return np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(state.state.params)]).astype(np.float64)


def assert_same(one, other):
    jax.tree.map(np.testing.assert_array_equal, one, other)


def test_a_trial_is_the_run_that_the_engine_trains(engine):
    run = bigram()
    training = LaneTraining(run, engine)
    first, second = training.run(training.start(), [0.5, 2.0], 80, [0, 33, 80])
    hparams = [
        run.hyperparameters._replace(schedule=dataclasses.replace(run.schedule, peak=p), steps=80) for p in (0.5, 2.0)
    ]
    _, rows, finals = lanes.run(hparams, functools.partial(make_transform, run), record_every=1, evaluate_every=33)
    for lane, trial in enumerate((first, second)):
        mine = rows["lane"] == lane
        np.testing.assert_allclose(trial.losses, rows["loss"][mine], rtol=1e-6)
        evaluated = rows[run.task.objective][mine][[0, 33]]
        np.testing.assert_allclose(trial.validation, [*evaluated, finals[run.task.objective][lane]], rtol=1e-5)
        assert int(trial.state.state.step) == 80


def test_going_on_from_a_state_is_never_having_stopped(engine):
    training = LaneTraining(bigram(), engine)
    [straight] = training.run(training.start(), [1.0], 100, [100])
    [half] = training.run(training.start(), [1.0], 37, [])
    [rest] = training.run(half.state, [1.0], 63, [63])
    assert_same(rest.state, straight.state)
    assert_same(np.concatenate([half.losses, rest.losses]), straight.losses)
    assert rest.validation[0] == straight.validation[0]
    [again] = training.run(half.state, [1.0], 63, [63])
    assert_same(again.state, rest.state)


def test_the_first_update_after_going_back_already_uses_the_new_rate():
    """Under SGD an update is the rate times one gradient: from one state, updates are as their rates are."""
    run = bigram("sgd")
    training = LaneTraining(run, make_engine(run))
    [before] = training.run(training.start(), [4.0], 30, [])
    start = params_of(before.state)
    slow, fast = training.run(before.state, [0.5, 2.0], 1, [])
    moved_slow, moved_fast = params_of(slow.state) - start, params_of(fast.state) - start
    assert np.abs(moved_fast).max() > 1e-3
    # Each parameter was rounded once, to half a unit in the last place of its own size.
    np.testing.assert_allclose(moved_fast, 4 * moved_slow, rtol=0, atol=5 * 2**-23 * np.abs(start).max())
    assert slow.rates.tolist() == [0.5]
    assert fast.rates.tolist() == [2.0]


def test_every_recorded_rate_is_the_stages_and_every_candidates_first_its_own(whole):
    stages, _ = whole
    for stage in stages:
        assert stage.curve["learning_rate"] == [float(np.float32(stage.chosen))] * stage.steps
        assert stage.first_rates == tuple(float(np.float32(rate)) for rate in stage.rates)


def test_two_programs_serve_all_stages_and_seeds(whole):
    """The candidates' and the single lane's."""
    stages, _ = whole
    assert [(s.mode, s.steps) for s in stages] == [("train", 25), ("train", 50), ("validation", 50), ("validation", 25)]
    own = make_engine(bigram())
    control(SETTINGS, LaneTraining(bigram(), own))
    control(dataclasses.replace(SETTINGS, seed=9, max_rate=5.0), LaneTraining(bigram(seed=1), own))
    assert own.program._cache_size() == 2


def test_the_search_costs_what_the_training_costs(whole):
    stages, state = whole
    assert updates_spent(stages) == 300
    assert int(state.state.step) == 150


class KilledError(Exception):
    pass


@pytest.mark.parametrize("after", [0, 3, 6, 7])
def test_killed_in_the_middle_it_goes_on_bit_for_bit(engine, whole, tmp_path, after):
    calls = []

    def pause():
        calls.append(None)
        if len(calls) > after:
            raise KilledError

    with pytest.raises(KilledError):
        control(SETTINGS, LaneTraining(bigram(), engine, pause=pause), folder=tmp_path)
    stages, state = control(SETTINGS, LaneTraining(bigram(), engine), folder=tmp_path)
    assert stages == whole[0]
    assert_same(state, whole[1])


def test_a_damaged_checkpoint_costs_a_stage_and_changes_nothing(engine, whole, tmp_path):
    control(SETTINGS, LaneTraining(bigram(), engine), folder=tmp_path)
    newest = max(checkpoint.steps(tmp_path))
    victim = next(path for path in (tmp_path / str(newest) / "state").rglob("*") if path.is_file())
    victim.write_bytes(victim.read_bytes() + b"x")
    stages, state = control(SETTINGS, LaneTraining(bigram(), engine), folder=tmp_path)
    assert stages == whole[0]
    assert_same(state, whole[1])


def test_another_runs_state_is_not_taken(engine, tmp_path):
    training = LaneTraining(bigram(), engine)
    training.save(tmp_path, 10, training.start())
    assert training.restore(tmp_path, 10) is not None
    assert LaneTraining(bigram(seed=1), engine).restore(tmp_path, 10) is None


def test_newer_steps_of_another_run_do_not_push_out_those_that_are_saved(engine, tmp_path):
    """The two newest are kept: those of a run that had come further must not count."""
    other = LaneTraining(bigram(seed=1), engine)
    for step in (100, 150):
        other.save(tmp_path, step, other.start())
    training = LaneTraining(bigram(), engine)
    for step in (10, 20, 30):
        training.save(tmp_path, step, training.start())
        assert training.restore(tmp_path, step)[0] == step
    assert checkpoint.steps(tmp_path) == [20, 30]


ADAPTING = {
    *("cocob", "dadapt_adamw", "dog", "dowg", "fedhyper", "hypergradient", "mechanic", "momo", "momo_adam"),
    *("plateau", "prodigy"),
}


# LISA trains blocks, which the bigram has none of.
@pytest.mark.parametrize("optimizer", sorted(set(TABLE) - {"lisa_adamw"}))
def test_an_optimizer_that_adapts_its_rate_is_refused(engine, optimizer):
    """The schedule that is found would not be the one that was applied."""
    if optimizer in ADAPTING:
        rule = "optimizer must apply the rates that it is given, which AutoLRS finds"
        with pytest.raises(ConfigError, match=f"{rule}, got {optimizer}, which adapts them"):
            LaneTraining(bigram(optimizer), engine)
    else:
        LaneTraining(bigram(optimizer), engine)


def test_the_found_schedule_trained_from_the_start_gives_the_same_run(whole):
    stages, state = whole
    run = bigram()
    hparams = run.hyperparameters._replace(schedule=found_schedule(SETTINGS, stages))
    trained, rows, _ = lanes.run([hparams], functools.partial(make_transform, run), record_every=1)
    losses = np.concatenate([stage.curve["loss"] for stage in stages])
    # Rates are within five roundings of each other (see the schedule's test), so the paths are within 150 times that.
    np.testing.assert_allclose(rows["loss"], losses, rtol=150 * 5 * 2**-23)
    assert int(trained.state.step[0]) == int(state.state.step)


def test_a_diverging_lane_leaves_its_neighbours_alone(engine):
    hot = run_of("quadratic", optimizer="sgd", schedule=("Constant", {"peak": 0.1}), steps=200, chains=4)
    training = LaneTraining(hot, make_engine(hot))
    start = training.start()
    alone, _ = training.run(start, [0.01, 0.01], 150, [0, 150])
    beside, dead = training.run(start, [0.01, 1e6], 150, [0, 150])
    assert_same(beside.losses, alone.losses)
    assert_same(beside.state, alone.state)
    assert np.isfinite(dead.losses[0])
    first_bad = int(np.argmin(np.isfinite(dead.losses)))
    assert not np.isfinite(dead.losses[first_bad:]).any()
    assert np.isnan(dead.validation[1])


def test_a_warmup_rises_to_its_rate_and_later_stages_do_not_repeat_it(engine):
    training = LaneTraining(bigram(), engine, warmup_steps=10)
    stages, _ = control(dataclasses.replace(SETTINGS, warmup_steps=10, warmup_rate=2.0), training)
    assert stages[0].curve["learning_rate"] == pytest.approx([2.0 * (step + 1) / 10 for step in range(10)], rel=2**-22)
    assert all(rate == np.float32(stages[1].chosen) for rate in stages[1].curve["learning_rate"])
