import itertools

import jax
import numpy as np
import pytest

from lrstudy.training import lanes, loop
from lrstudy.training.layout import Layout
from lrstudy.training.loop import Cadence, Job
from lrstudy.training.program import RECORD_SLOTS, abstract_lanes, empty_lanes, make_program, make_window, stack
from tests.training.problems import hparams_and_transform, run_of


def job_of(runs, record_every=1, evaluate_every=0):
    hparams, make_transform = hparams_and_transform(runs)
    own = stack(hparams)
    program = lanes.spread(make_program(make_transform), Layout("map"))
    cadence = Cadence(tuple(run.config.steps for run in runs), record_every, evaluate_every)
    data = jax.device_put(runs[0].task.load())
    return Job(program, own, data, cadence), empty_lanes(abstract_lanes(own, make_transform))


def test_chunks_join_without_gap_and_pause_where_asked():
    job, current = job_of([run_of("bigram", steps=100)])
    chunks = list(loop.train(job, current, start=0, stop=100, pause_at=[7, 50, 100, 300]))
    assert chunks[0].start == 0
    assert chunks[-1].stop == 100
    assert all(a.stop == b.start for a, b in itertools.pairwise(chunks))
    assert {7, 50} <= {chunk.stop for chunk in chunks}
    steps = loop.concatenate(c.rows for c in chunks)["step"]
    assert steps.tolist() == list(range(100))


def test_no_call_records_more_than_its_slots():
    job, current = job_of([run_of("bigram", steps=300)], evaluate_every=1)
    chunks = list(loop.train(job, current, start=0, stop=300))
    assert max(len(chunk.rows["step"]) for chunk in chunks) < RECORD_SLOTS
    rows = loop.concatenate(c.rows for c in chunks)
    assert not np.isnan(rows["excess"]).any()
    with pytest.raises(ValueError, match="at most"):
        make_window(0, 100, record_at=range(RECORD_SLOTS + 1))


def test_one_compilation_for_a_whole_run():
    job, current = job_of([run_of("bigram", steps=100), run_of("bigram", steps=57)], 10, 20)
    list(loop.train(job, current, start=0, stop=100))
    assert job.program._cache_size() == 1


def test_starting_at_the_end_evaluates_and_trains_nothing():
    job, current = job_of([run_of("bigram", steps=20)])
    for chunk in loop.train(job, current, start=0, stop=20):
        current, finals = chunk.lanes, chunk.finals
    again = list(loop.train(job, current, start=20, stop=20, fresh=False))
    assert [(c.start, c.stop, len(c.rows["step"])) for c in again] == [(20, 20, 0)]
    assert int(again[0].lanes.state.step[0]) == 20
    assert again[0].finals["excess"].tolist() == finals["excess"].tolist()


def test_an_evaluation_is_of_the_parameters_before_the_step():
    """The row at step k and a run that ends after k updates see the same parameters."""
    long_job, current = job_of([run_of("bigram", steps=20, schedule=("Constant", {"peak": 1.0}))], 5, 5)
    rows = loop.concatenate(c.rows for c in loop.train(long_job, current, start=0, stop=20))
    short_job, current = job_of([run_of("bigram", steps=10, schedule=("Constant", {"peak": 1.0}))], 5, 5)
    finals = list(loop.train(short_job, current, start=0, stop=10))[-1].finals
    assert rows["excess"][rows["step"] == 10].tolist() == finals["excess"].tolist()


def test_a_diverged_lane_keeps_its_last_finite_state_and_the_loop_ends_with_the_last_lane():
    hot = run_of("quadratic", chains=4, optimizer="sgd", schedule=("Constant", {"peak": 1e6}), steps=200)
    job, current = job_of([hot])
    chunks = list(loop.train(job, current, start=0, stop=200))
    last = chunks[-1]
    assert not last.alive[0]
    assert last.stop < 200
    died = int(last.lanes.state.step[0])
    rows = loop.concatenate(c.rows for c in chunks)
    assert rows["step"].tolist() == list(range(died))
    assert np.isfinite(rows["loss"]).all()


@pytest.mark.parametrize(("record", "evaluate"), [(0, 0), (7, 10), (10, 5)])
def test_evaluations_fall_on_recorded_steps(record, evaluate):
    with pytest.raises(ValueError, match="multiple"):
        Cadence((10,), record, evaluate)


def test_budgets_grow_at_most_fourfold_and_aim_at_the_target():
    assert loop._next_budget(4, 4, 1e-9) == 16
    assert loop._next_budget(100, 100, 100.0) == 1
    assert loop._next_budget(100, 100, loop.TARGET_SECONDS) == 100


def test_concatenating_nothing_is_nothing():
    assert loop.concatenate([{}, {}]) == {}
